#include "base/temporary_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <set>
#include <string>

#include "base/file.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAre;

class TemporaryFileTest : public ::testing::Test {
 protected:
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path())) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }
  // Of `name`, last written so long ago.
  std::string Leave(const std::string& name, std::chrono::minutes ago) const {
    std::ofstream(folder_.path() / name) << "half";
    fs::last_write_time(folder_.path() / name, fs::file_time_type::clock::now() - ago);
    return name;
  }
  // The name that another process has given its file of `path_` before it was killed, or before it
  // waits for that (`process`, which the caller kills).
  std::string LeftByAnother(pid_t* process = nullptr) const {
    const std::set<std::string> before = Names();
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const TemporaryFile file = CreateTemporaryBeside(path_);
      ::write(ready[1], "x", 1);
      ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
    if (process != nullptr) {
      *process = child;
    } else {
      Kill(child);
    }
    for (const std::string& name : Names()) {
      if (!before.contains(name)) return name;
    }
    return "";
  }
  static void Kill(pid_t process) {
    ASSERT_EQ(::kill(process, SIGKILL), 0);
    ASSERT_EQ(::waitpid(process, nullptr, 0), process);
  }

  const TempFolder folder_;
  const fs::path path_ = folder_.path() / "model.onnx";
};

TEST_F(TemporaryFileTest, OfAWriterThatIsGoneIsRemovedAtOnce) {
  pid_t alive = 0;
  const std::string gone = LeftByAnother(), used = LeftByAnother(&alive);
  const TemporaryFile own = CreateTemporaryBeside(path_);
  RemoveAbandonedBeside(path_, own);
  EXPECT_THAT(Names(), UnorderedElementsAre(used, own.path.filename().string()));
  Kill(alive);
  RemoveAbandonedBeside(path_, own);
  EXPECT_THAT(Names(), UnorderedElementsAre(own.path.filename().string()));
}

// On another machine, or in another container: by the process's number nobody is meant here.
TEST_F(TemporaryFileTest, OfAWriterElsewhereIsRemovedAfterADay) {
  const std::string other = ".0123456789abcdef.0123456789abcdef";
  const auto day = std::chrono::hours(24);
  const std::string young = Leave("model.onnx.tmp.1073741823" + other, day - std::chrono::hours(1));
  Leave("model.onnx.tmp.1073741822" + other, day + std::chrono::minutes(1));
  Leave("model.onnx.tmp.0123456789abcdef", day + std::chrono::minutes(1));  // of earlier versions
  const std::set<std::string> others = {
      Leave("model.onnx", 10 * day), Leave("model.onnx.tmp", 10 * day),
      Leave("model.onnx.tmp.2", 10 * day), Leave("model.onnx.tmp.of-my-own-making", 10 * day),
      Leave("other.onnx.tmp.1" + other, 10 * day)};
  const std::string folder = "model.onnx.tmp.1073741821" + other;
  fs::create_directory(folder_.path() / folder);
  const TemporaryFile own = CreateTemporaryBeside(path_);
  RemoveAbandonedBeside(path_, own);
  EXPECT_THAT(Names(), IsSupersetOf(others));
  EXPECT_THAT(Names(), IsSupersetOf({young, folder}));
  EXPECT_EQ(Names().size(), others.size() + 3) << "and its own";
}

TEST_F(TemporaryFileTest, WhoeverWritesALargeFileRemovesThem) {
  const std::string gone = LeftByAnother();
  WriteFileAtomically(path_, "small");
  EXPECT_THAT(Names(), UnorderedElementsAre("model.onnx", gone)) << "no look through the folder";
  WriteFileAtomically(path_, std::string(size_t{1} << 20, 'x'));
  EXPECT_THAT(Names(), UnorderedElementsAre("model.onnx"));
}

TEST_F(TemporaryFileTest, LiesInTheWorkingFolderOfANameWithoutOne) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  const std::string gone = LeftByAnother();
  const TemporaryFile own = CreateTemporaryBeside("model.onnx");
  RemoveAbandonedBeside("model.onnx", own);
  EXPECT_THAT(Names(), UnorderedElementsAre(own.path.string()));
  fs::current_path(before);
}

}  // namespace
}  // namespace syncbn
