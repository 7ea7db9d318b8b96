// Runs the public cache test suite through the proxy at this URL and prints one line of JSON: for each
// kind of test how many passed, and which did not, by what the suite itself says.

import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import suites from 'http-cache-tests/tests/index.mjs'

const print = console.log
console.log = () => {}
// All at once: most of a test's time is waiting for an answer to age.
await runTests(suites, fetch, false, process.argv[2], 1000)

const results = getResults()
const tests = new Map(suites.flatMap(suite => suite.tests.map(test => [test.id, test])))

// A test counts only when those it builds upon pass.
function passes (id) {
  return results[id] === true && (tests.get(id).depends_on ?? []).every(passes)
}

const kinds = {}
for (const [id, test] of tests) {
  if (results[id] === undefined) continue
  const kind = kinds[test.kind ?? 'required'] ??= { passed: 0, failed: {} }
  if (passes(id)) {
    kind.passed++
  } else {
    kind.failed[id] = Array.isArray(results[id]) ? results[id].join(': ') : 'another test it builds upon failed'
  }
}
print(JSON.stringify(kinds))
process.exit(0)
