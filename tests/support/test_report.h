// What a test program tells whoever ran many of them: how many tests passed, failed and were skipped, and why.
#pragma once

namespace syncbn {

// Where the variable SYNCBN_TEST_RESULTS names a file, a line is appended to it at the end of the tests,
// `PROGRAM passed failed skipped`, and before it one for each skipped test, `skipped: SUITE.TEST: reason`.
// Call it once, after InitGoogleTest.
void ReportTestResults();

// Exit code of a program of which every test was skipped: CTest then calls it skipped, not passed.
inline constexpr int kAllSkipped = 77;

// `result` of RUN_ALL_TESTS, or kAllSkipped.
int TestExitCode(int result);

}  // namespace syncbn
