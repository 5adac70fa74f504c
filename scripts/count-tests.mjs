// Prints "N passed, N failed" from vitest's JSON report, and ends non-zero when the tests did not all pass.
// A failed check counts as one failure, so that the line never says 0 failed when the run did.
import { readFileSync } from 'node:fs';

const [reportPath, statusText] = process.argv.slice(2);
const runFailed = statusText !== '0';
let counts = { passed: 0, failed: 1, skipped: 0 };
try {
  const report = JSON.parse(readFileSync(reportPath, 'utf8'));
  // A file that cannot be loaded has no tests that could fail.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles,
    skipped: report.numPendingTests + report.numTodoTests,
  };
} catch (error) {
  console.error(`no test report: ${error.message}`);
}
if (runFailed && counts.failed === 0) counts.failed = 1;
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0);
