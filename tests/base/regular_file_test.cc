#include "base/regular_file.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

// The message of what opening throws; empty where it does not.
std::string Refusal(const fs::path& path, ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    OpenRegularFile(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.message();
  }
  return "";
}

TEST(RegularFile, IsReadWholeByLinksToo) {
  const TempFolder folder;
  const fs::path file = folder.path() / "file", link = folder.path() / "link";
  std::ofstream(file) << "content";
  fs::create_symlink(file, link);
  for (const fs::path& path : {file, link}) {
    const std::vector<std::byte> content = ReadRegularFile(path, 7);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(content.data()), content.size()),
              "content");
    EXPECT_EQ(ReadRegularTextFile(path, 7), "content");
  }
}

TEST(RegularFile, NothingElseIsOpenedOrWaitedFor) {
  const TempFolder folder;
  const fs::path pipe = folder.path() / "pipe", place = folder.path() / "socket";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, place.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(Refusal(pipe), pipe.string() + " is a pipe, not a file");
  EXPECT_EQ(Refusal(place), place.string() + " is a socket, not a file");
  EXPECT_EQ(Refusal("/dev/zero"), "/dev/zero is a device, not a file");
  EXPECT_EQ(Refusal(folder.path()), folder.path().string() + " is a folder, not a file");
  const fs::path none = folder.path() / "none";
  EXPECT_EQ(Refusal(none, ErrorCode::kNotFound),
            "cannot open " + none.string() + ": No such file or directory");
}

TEST(RegularFile, OneThatIsTooLongIsNotRead) {
  const TempFolder folder;
  const fs::path file = folder.path() / "file";
  std::ofstream(file) << "x";
  fs::resize_file(file, uintmax_t{1} << 40);  // a hole
  try {
    ReadRegularFile(file, 1 << 20);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.message(), file.string() + " has 1099511627776 bytes, more than 1048576");
  }
}

}  // namespace
}  // namespace syncbn
