#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/home.h"
#include "base/regular_file.h"
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

TEST(WriteFileAtomically, ADiskThatIsFullLeavesTheOldContentAndNothingElse) {
  TempFolder folder;
  const auto path = folder.path() / "a";
  WriteFileAtomically(path, "old");
  // No file may be longer, as on a disk without room.
  struct rlimit limit {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const struct rlimit small { .rlim_cur = 4096, .rlim_max = limit.rlim_max };
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  bool told_apart = false;
  try {
    WriteFileAtomically(path, std::string(10000, 'n'));
  } catch (const Error& error) {
    message = error.message();
    told_apart = error.code() == ErrorCode::kResourceExhausted &&
                 dynamic_cast<const StorageError*>(&error) != nullptr;
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, "cannot write " + path.string() + ": File too large");
  EXPECT_TRUE(told_apart) << "from other wants";
  EXPECT_EQ(ReadFile(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(ThrowErrno, ShowsANameOnOneLine) {
  const std::string name = "no\n\033[31msuch";
  const auto message = [](const auto& open) -> std::string {
    try {
      open();
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  };
  EXPECT_EQ(message([&] { ReadFile(name); }),
            "cannot open no  [31msuch: No such file or directory");
  EXPECT_EQ(message([&] { throw UnfitFile(name, "is a pipe"); }), "no  [31msuch is a pipe");
}

TEST(ThrowErrno, TellsAFullDiskFromOtherWants) {
  for (const int reason : {ENOSPC, EDQUOT, EFBIG}) {
    errno = reason;
    EXPECT_THROW(ThrowErrno("write", "a"), StorageError);
  }
  errno = EMFILE;
  try {
    ThrowErrno("open", "a");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_EQ(dynamic_cast<const StorageError*>(&error), nullptr);
  }
}

// Another user of a folder that all may write to knows the name of the file, and of the process.
TEST(WriteFileAtomically, FollowsNoLinkThatIsPlantedBesideTheFile) {
  TempFolder folder;
  const auto path = folder.path() / "a", victim = folder.path() / "victim";
  WriteFileAtomically(victim, "precious");
  const std::string temporary = path.string() + ".tmp.";
  for (int number = ::getpid() - 3; number <= ::getpid() + 3; ++number) {
    std::filesystem::create_symlink(victim, temporary + std::to_string(number));
  }
  WriteFileAtomically(path, "new");
  EXPECT_EQ(ReadFile(path), "new");
  EXPECT_FALSE(std::filesystem::is_symlink(path));
  EXPECT_EQ(ReadFile(victim), "precious");
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
    EXPECT_EQ(error.message(), path.string() + " is a pipe, not a file");
  }
  EXPECT_TRUE(std::filesystem::is_fifo(path));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(ReadFile, ReadsWhatHasNoSize) {
  TempFolder folder;
  const auto path = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::string text;
  for (int i = 0; i < 100000; ++i) text += std::to_string(i);
  std::jthread writer([&] { std::ofstream(path, std::ios::binary) << text; });
  EXPECT_EQ(ReadFile(path), text);
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
