#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "base/error.h"
#include "base/home.h"
#include "base/storage_error.h"
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
    EXPECT_NE(dynamic_cast<const StorageError*>(&error), nullptr) << "told apart from other wants";
    EXPECT_EQ(error.message(), "cannot write " + path.string() + ": No space left on device");
  }
  EXPECT_EQ(ReadFile(path), "old");
}

TEST(WriteFileAtomically, PutsNothingInThePlaceOfAPipeOrADevice) {
  TempFolder folder;
  const auto path = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  try {
    WriteFileAtomically(path, "new");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.message(),
              path.string() + " is a device, a pipe or a socket: give the name of a file");
  }
  EXPECT_TRUE(std::filesystem::is_fifo(path));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
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

TEST(ExpandHome, IsWhatAShellDoes) {
  const std::string home = std::getenv("HOME") == nullptr ? "" : std::getenv("HOME");
  ::setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(ExpandHome("~"), "/home/somebody");
  EXPECT_EQ(ExpandHome("~/a b"), "/home/somebody/a b");
  for (const char* text : {"", "a~", "./~", "~x", "/~/x", "key=~/x"})
    EXPECT_EQ(ExpandHome(text), text);
  ::setenv("HOME", home.c_str(), 1);
}

}  // namespace
}  // namespace syncbn
