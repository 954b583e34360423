"""What FastAPI makes ready at its import and a worker never uses, or not before somebody asks: left out, or put off.

For a process that is a worker and nothing else. It knows no part of the service.
"""

import importlib
import sys
from types import ModuleType
from typing import cast


def import_fastapi() -> None:
    """To be called before anything else imports it.

    FastAPI asks for `pydantic.v1` only to recognise its models, and does without where there is none. Of the fifty
    models of OpenAPI none is needed before somebody wants the documentation: each is built at its first use.
    """
    # With None in its place a module cannot be imported: the language reference, 5.3.1.
    sys.modules.setdefault("pydantic.v1", cast(ModuleType, None))
    from pydantic import BaseModel

    before = BaseModel.model_config
    BaseModel.model_config = before | {"defer_build": True}
    try:
        importlib.import_module("fastapi.openapi.models")
    finally:
        BaseModel.model_config = before
