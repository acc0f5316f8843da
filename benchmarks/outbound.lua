-- Signed bodies from a file, each used once, over all connections.
local file

function init(args)
  file = io.open(args[1], "rb")
end

function request()
  local line = file:read("*l")
  if not line then
    file:seek("set")
    line = file:read("*l")
  end
  local tab = line:find("\t", 1, true)
  wrk.headers["X-Turn-Hook-Signature"] = line:sub(1, tab - 1)
  wrk.headers["Content-Type"] = "application/json"
  return wrk.format("POST", nil, nil, line:sub(tab + 1))
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('FIGURES {"requests": %d, "seconds": %f, "errors": %d, "p99_ms": %f}',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(99) / 1000))
end
