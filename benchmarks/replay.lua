-- wrk: sends the requests that lie in the files named after `--`, in turn, and prints one line of JSON at the end.

local requests = {}
local sent = 0

function init(args)
  for index = 1, #args do
    local file = assert(io.open(args[index], "rb"))
    requests[index] = file:read("*a")
    file:close()
  end
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "p999": %d, '
      .. '"status_errors": %d, "socket_errors": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
