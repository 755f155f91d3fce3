#include "base/file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

TEST(WriteFileAtomically, ReplacesTheContentAndLeavesNothingElse) {
  TempFolder folder;
  WriteFileAtomically(folder.path() / "a", "one");
  WriteFileAtomically(folder.path() / "a", "two");
  EXPECT_EQ(ReadFile(folder.path() / "a"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(WriteFileAtomically, FullDiskLeavesTheOldContent) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  TempFolder folder;
  // The temporary name is predictable on purpose here: a link to /dev/full stands for a full disk.
  const auto path = folder.path() / "a";
  WriteFileAtomically(path, "old");
  std::filesystem::create_symlink("/dev/full", path.string() + ".tmp." + std::to_string(getpid()));
  try {
    WriteFileAtomically(path, "new");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_EQ(error.message(), "cannot write " + path.string() + ": No space left on device");
  }
  EXPECT_EQ(ReadFile(path), "old");
}

TEST(ReadFile, MissingFileIsNamed) {
  try {
    ReadFile("/no/such/file");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_EQ(error.message(), "cannot open /no/such/file: No such file or directory");
  }
}

}  // namespace
}  // namespace syncbn
