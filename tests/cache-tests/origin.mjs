// The origin of the public cache test suite, on a free port of this machine alone. Prints the port.

import http from 'node:http'
import handleConfig from 'http-cache-tests/server/handle-config.mjs'
import handleState from 'http-cache-tests/server/handle-state.mjs'
import handleTest from 'http-cache-tests/server/handle-test.mjs'

const handlers = { config: handleConfig, state: handleState, test: handleTest }

const server = http.createServer((request, response) => {
  const [name, ...rest] = new URL(request.url, 'http://origin/').pathname.split('/').slice(1)
  const handle = handlers[name]
  if (handle) {
    handle(rest, request, response)
  } else {
    response.writeHead(404).end()
  }
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
// The suite logs there; nobody reads more than the port.
console.log = () => {}
// Whoever started this is gone when its end of the pipe is.
process.stdin.resume().on('end', () => process.exit())
