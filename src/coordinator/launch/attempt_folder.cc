#include "coordinator/launch/attempt_folder.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/descriptor.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"

namespace syncbn::coordinator {
namespace {

// Files that are as large as what will be written into them: orders to stop and the record of the
// end must be written on a full disk, too, or nothing there would ever end and make room.
constexpr int kSpares = 3;  // an order is replaced by a more severe one twice
constexpr off_t kSpareOrder = 8 << 10;
constexpr off_t kSpareExit = 128 << 10;

std::filesystem::path SpareOf(std::filesystem::path path, int number) {
  return path += ".spare-" + std::to_string(number);
}

// On a disk that is full already nothing is set aside.
void SetAside(const std::filesystem::path& path, int number, off_t bytes) {
  const std::filesystem::path spare = SpareOf(path, number);
  const Descriptor file(::open(spare.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() >= 0 && ::posix_fallocate(file.get(), 0, bytes) != 0) ::unlink(spare.c_str());
}

// Into a file that was set aside for `path`, which is called `name` then.
bool WriteIntoSpare(const std::filesystem::path& path, const std::filesystem::path& name,
                    const std::string& text) {
  for (int number = 1; number <= kSpares; ++number) {
    const std::filesystem::path spare = SpareOf(path, number);
    const Descriptor file(::open(spare.c_str(), O_WRONLY | O_CLOEXEC));
    struct stat status {};
    if (file.get() < 0 || ::fstat(file.get(), &status) != 0 ||
        status.st_size < static_cast<off_t>(text.size())) {
      continue;
    }
    if (::pwrite(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
        ::ftruncate(file.get(), static_cast<off_t>(text.size())) == 0 && ::fsync(file.get()) == 0 &&
        ::rename(spare.c_str(), name.c_str()) == 0) {
      return true;
    }
  }
  return false;
}

// Gives a file that is whole its name; false where something has that name. For everybody who
// shares the folder, whatever this host has seen of it.
bool NameOnce(const std::filesystem::path& file, const std::filesystem::path& path) {
  if (::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0)
    return true;
  if (errno == EEXIST) return false;
  // NFS does not know that flag; a link it makes once.
  if (::link(file.c_str(), path.c_str()) == 0) {
    ::unlink(file.c_str());
    return true;
  }
  if (errno == EEXIST) return false;
  // No links either: what is left is the caller's lock.
  std::error_code none;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, none))) return false;
  if (::rename(file.c_str(), path.c_str()) != 0) ThrowErrno("rename to", path);
  return true;
}

template <typename Message>
std::string TextOf(const std::filesystem::path& path, const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) {
    throw Error(ErrorCode::kInternal, "cannot write " + path.string() + ": " + status.ToString());
  }
  return text;
}

// False where something is there already.
template <typename Message>
bool WriteOnce(const std::filesystem::path& path, const Message& message) {
  std::filesystem::path next = path;
  next += ".of-" + HostName() + "-" + std::to_string(::getpid());
  const std::string text = TextOf(path, message);
  try {
    WriteFileAtomically(next, text);
  } catch (const Error&) {
    if (!WriteIntoSpare(path, next, text)) throw;
  }
  const bool named = NameOnce(next, path);
  if (!named) ::unlink(next.c_str());
  SyncFolder(path.parent_path());
  return named;
}

template <typename Message>
void Write(const std::filesystem::path& path, const Message& message) {
  const std::string text = TextOf(path, message);
  // A folder in its place could not be replaced.
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) {
    std::filesystem::path aside = path.string() + ".damaged";
    for (int i = 2; std::filesystem::exists(aside, none); ++i)
      aside = path.string() + ".damaged" + std::to_string(i);
    std::filesystem::rename(path, aside);
  }
  try {
    WriteFileAtomically(path, text);
  } catch (const Error&) {
    if (!WriteIntoSpare(path, path, text)) throw;
  }
}

template <typename Message>
std::optional<Message> Read(const std::filesystem::path& path) {
  std::string text;
  try {
    text = ReadFile(path);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return std::nullopt;
    // Not the file that was written there: that is no trouble of the moment.
    if (error.code() == ErrorCode::kPermissionDenied ||
        error.code() == ErrorCode::kInvalidArgument) {
      throw DamagedFile(path, error.message());
    }
    throw;
  }
  Message message;
  // A newer program may have written fields that this one does not know.
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &message, options);
  if (!status.ok()) {
    // What protobuf says of it speaks of its own insides.
    throw DamagedFile(path, text.empty()
                                ? "it is empty"
                                : "its " + Plural(static_cast<long long>(text.size()), "byte") +
                                      " are not the JSON that was written there");
  }
  return message;
}

// `found` is the marker in the file; one of another attempt has come here from elsewhere.
void CheckMarker(const std::filesystem::path& path, const std::string& wanted,
                 const std::string& found) {
  if (wanted.empty() || found.empty() || found == wanted) return;
  throw DamagedFile(path, "it is of another attempt, '" + found.substr(0, 200) + "'");
}

}  // namespace

void AttemptFolder::Create(const v1::AttemptSpec& spec) const {
  std::filesystem::create_directories(spool());
  // The environment in attempt.json holds the token of the attempt.
  std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
  for (int number = 1; number <= kSpares; ++number)
    SetAside(path_ / "stop.json", number, kSpareOrder);
  SetAside(path_ / "exit.json", 1, kSpareExit);
  Write(path_ / "attempt.json", spec);
}

v1::AttemptSpec AttemptFolder::Spec() const {
  const std::filesystem::path file = path_ / "attempt.json";
  auto spec = Read<v1::AttemptSpec>(file);
  if (!spec) throw Error(ErrorCode::kNotFound, "there is no attempt in " + path_.string());
  CheckMarker(file, marker_, spec->marker());
  return *std::move(spec);
}

void AttemptFolder::WriteSupervisor(const v1::SupervisorRecord& record) const {
  Write(path_ / "supervisor.json", record);
}

std::optional<v1::SupervisorRecord> AttemptFolder::Supervisor() const {
  const std::filesystem::path file = path_ / "supervisor.json";
  auto record = Read<v1::SupervisorRecord>(file);
  if (record) CheckMarker(file, marker_, record->marker());
  return record;
}

void AttemptFolder::WriteStop(const v1::StopOrder& order) const {
  std::string damage;
  const auto present = ReadOrNote([&] { return Stop(); }, damage);
  if (present && present->level() >= order.level()) return;
  Write(path_ / "stop.json", order);
}

std::optional<v1::StopOrder> AttemptFolder::Stop() const {
  return Read<v1::StopOrder>(path_ / "stop.json");
}

bool AttemptFolder::WriteExit(const v1::ExitRecord& record) const {
  const std::filesystem::path file = path_ / "exit.json";
  if (!WriteOnce(file, record)) {
    std::string damage;
    const AttemptFolder own(path_, record.marker().empty() ? marker_ : record.marker());
    // One that cannot be read, or is another attempt's, nobody will write again.
    if (ReadOrNote([&] { return own.Exit(); }, damage) || damage.empty()) return false;
    Write(file, record);
  }
  for (const char* name : {"stop.json", "exit.json"}) {
    for (int number = 1; number <= kSpares; ++number)
      ::unlink(SpareOf(path_ / name, number).c_str());
  }
  return true;
}

void AttemptFolder::AmendExit(const v1::ExitRecord& record) const {
  Write(path_ / "exit.json", record);
}

std::optional<v1::ExitRecord> AttemptFolder::Exit() const {
  const std::filesystem::path file = path_ / "exit.json";
  auto record = Read<v1::ExitRecord>(file);
  if (!record) return std::nullopt;
  CheckMarker(file, marker_, record->marker());
  // Every record says at least one of these.
  if (record->cause() == v1::ExitRecord::CAUSE_UNSPECIFIED && !record->has_end_time())
    throw DamagedFile(file, "it says nothing of how the attempt ended");
  return record;
}

int64_t AttemptFolder::Written() const {
  namespace fs = std::filesystem;
  int64_t bytes = 0;
  // What is not there, or is gone the next moment, counts nothing.
  auto add = [&](const fs::path& file) {
    std::error_code none;
    const auto size = fs::file_size(file, none);
    if (!none) bytes += static_cast<int64_t>(size);
  };
  add(output_log());
  std::error_code none;
  for (fs::directory_iterator file(spool(), none), end; !none && file != end; file.increment(none))
    add(file->path());
  return bytes;
}

std::optional<FolderLock> AttemptFolder::TryLock() const {
  return FolderLock::TryLock(path_ / "lock",
                             "process " + std::to_string(::getpid()) + " on " + HostName());
}

std::vector<AttemptId> UnendedAttempts(const std::filesystem::path& data) {
  namespace fs = std::filesystem;
  std::vector<AttemptId> found;
  // What cannot be read, or is gone the next moment, is nothing to be found here.
  std::error_code none;
  for (const fs::directory_entry& job : fs::directory_iterator(data / "jobs", none)) {
    for (const fs::directory_entry& attempt :
         fs::directory_iterator(job.path() / "attempts", none)) {
      if (!fs::exists(attempt.path() / "attempt.json", none) ||
          fs::exists(attempt.path() / "exit.json", none)) {
        continue;
      }
      try {
        found.push_back(ParseAttemptName("jobs/" + job.path().filename().string() + "/attempts/" +
                                         attempt.path().filename().string()));
      } catch (const Error&) {
        continue;  // not a folder of ours
      }
    }
  }
  return found;
}

ScratchFolders ScratchOf(const std::string& marker) {
  // Short: names of sockets below it are limited to about 100 characters.
  const std::string name =
      "syncbn-" +
      DigestOf(std::as_bytes(std::span(marker.data(), marker.size()))).Hex().substr(0, 12);
  ScratchFolders folders;
  std::error_code gone;
  std::filesystem::path base = std::filesystem::temp_directory_path(gone);
  if (gone) {
    base = "/tmp";
    folders.warning =
        "TMPDIR of the coordinator is no folder: temporary files of this attempt are in /tmp";
  }
  folders.disk = base / name;
  folders.memory = std::filesystem::path("/dev/shm") / name;
  return folders;
}

ScratchFolders MakeScratch(const std::string& marker) {
  ScratchFolders folders = ScratchOf(marker);
  for (std::filesystem::path* folder : {&folders.disk, &folders.memory}) {
    // One that is there already may be somebody else's trap: only our own, made now, is used.
    if (::mkdir(folder->c_str(), 0700) == 0) continue;
    folders.warning += (folders.warning.empty() ? "" : "; ") + std::string("cannot make ") +
                       folder->string() + " (" + std::strerror(errno) +
                       "): temporary files go where Open MPI puts them";
    folder->clear();
  }
  return folders;
}

void RemoveScratch(const std::string& marker) {
  const ScratchFolders folders = ScratchOf(marker);
  // TMPDIR may have come or gone since they were made.
  const std::filesystem::path other = std::filesystem::path("/tmp") / folders.disk.filename();
  for (const std::filesystem::path& folder : {folders.disk, folders.memory, other}) {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
}

StopLadder::Times LadderTimes(const v1::LadderSpec& spec) {
  auto time = [](double seconds) {
    return std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::duration<double>(seconds));
  };
  return {.ask = time(spec.ask_seconds()),
          .checkpoint = time(spec.checkpoint_seconds()),
          .terminate = time(spec.terminate_seconds()),
          .launcher = time(spec.launcher_seconds())};
}

}  // namespace syncbn::coordinator
