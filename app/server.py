"""The server process: uvicorn around the application, started quickly and stopped politely."""

import uvicorn

from app.settings import Settings


def run(settings: Settings) -> int:
    from app.main import create_app

    app = create_app(settings)
    config = uvicorn.Config(app, host=settings.host, port=settings.port, log_level="info", access_log=False)
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 3
