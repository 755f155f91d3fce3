#include "coordinator/launch/spool_transfer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <map>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/process.h"
#include "report/spool_file.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;
using report::RecordType;

// Records of a transfer.
constexpr auto kFile = static_cast<RecordType>(100);   // name of the file whose content follows
constexpr auto kData = static_cast<RecordType>(101);   // a piece of it
constexpr auto kEnd = static_cast<RecordType>(102);    // all was sent
constexpr size_t kPiece = 512 * 1024;
constexpr size_t kMostFetched = size_t{512} << 20;

// Only what a spool may hold: a name from elsewhere must not lead anywhere else.
bool IsSpoolName(std::string_view name) {
  return name.starts_with("rank-") && name.size() < 64 && name.find('/') == std::string_view::npos &&
         (name.ends_with(".spool") || name.ends_with(".exit"));
}

std::vector<fs::path> FilesIn(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (IsSpoolName(it->path().filename().string())) files.push_back(it->path());
  }
  std::ranges::sort(files);
  return files;
}

bool WriteAll(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

std::chrono::milliseconds RemoteTime(const v1::AttemptSpec& spec) {
  return std::chrono::milliseconds(static_cast<int64_t>(spec.ladder().remote_seconds() * 1000));
}

// The file by which a host that shares the disk is known.
class HomeFile {
 public:
  explicit HomeFile(const fs::path& folder) : folder_(folder) {
    made_ = ::mkdir(folder.c_str(), 0700) == 0;
    std::random_device random;
    name_ = "home-" + std::to_string(random()) + "-" + std::to_string(random());
    WriteFileAtomically(folder_ / name_, "");
  }
  ~HomeFile() {
    ::unlink((folder_ / name_).c_str());
    if (made_) ::rmdir(folder_.c_str());  // fails when something was fetched
  }
  const std::string& name() const { return name_; }

 private:
  const fs::path folder_;
  std::string name_;
  bool made_ = false;
};

}  // namespace

std::vector<std::string> SweepCommand(const v1::AttemptSpec& spec, const std::string& host,
                                      const std::vector<std::string>& arguments) {
  std::vector<std::string> command(spec.launch_agent().begin(), spec.launch_agent().end());
  command.insert(command.end(), {host, spec.remote_program(), "sweep", "--marker", spec.marker()});
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

bool IsPlainWord(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '/' || c == '.' || c == '_' || c == '-' || c == '+';
  });
}

std::vector<std::string> FetchSpools(const v1::AttemptSpec& spec,
                                     const std::vector<std::string>& hosts, const fs::path& folder,
                                     const std::function<void(const std::string&)>& note) {
  if (hosts.empty()) return {};
  if (!IsPlainWord(folder.string())) {
    note("spools are not fetched: the path " + folder.string() +
         " has characters that a remote shell would change");
    return hosts;
  }
  std::vector<std::string> failed;
  std::vector<std::vector<std::string>> commands, drops;
  try {
    const HomeFile home(folder);
    for (const std::string& host : hosts) {
      commands.push_back(
          SweepCommand(spec, host, {"--send-spool", folder.string(), "--home", home.name()}));
    }
    const auto results = RunCommands(commands, RemoteTime(spec), kMostFetched);
    for (size_t i = 0; i < results.size(); ++i) {
      const CommandResult& result = results[i];
      const bool whole = ReceiveSpool(result.output, folder);
      if (whole && !result.timed_out && result.exit_code == 0) {
        drops.push_back(SweepCommand(
            spec, hosts[i], {"--drop-spool", folder.string(), "--home", home.name()}));
        continue;
      }
      failed.push_back(hosts[i]);
      note("the spool of host " + hosts[i] + " could not be fetched whole: " +
           (result.timed_out ? "no answer in time"
                             : "exit code " + std::to_string(result.exit_code)) +
           " " + result.error_output);
    }
    // What stays there does no harm but takes room.
    RunCommands(drops, RemoteTime(spec));
    return failed;
  } catch (const Error& error) {
    note(std::string("fetching spools: ") + error.what());
    return hosts;
  }
}

std::string NotFetchedText(const std::string& message, const std::vector<std::string>& hosts) {
  std::string text = message.empty() ? "" : message + "; ";
  text += "what its workers could not deliver is still on ";
  for (size_t i = 0; i < hosts.size(); ++i) text += (i > 0 ? ", " : "") + hosts[i];
  return text + " and could not be fetched";
}

bool SendSpool(const fs::path& folder, const std::string& home, int file) {
  const bool here = !home.empty() && fs::exists(folder / home);
  if (!here) {
    for (const fs::path& path : FilesIn(folder)) {
      const std::string content = ReadFile(path);
      if (!WriteAll(file, report::MakeRecord(kFile, path.filename().string()))) return false;
      for (size_t at = 0; at < content.size(); at += kPiece) {
        const std::string_view piece = std::string_view(content).substr(at, kPiece);
        if (!WriteAll(file, report::MakeRecord(kData, piece))) return false;
      }
    }
  }
  return WriteAll(file, report::MakeRecord(kEnd, ""));
}

void DropSpool(const fs::path& folder) {
  for (const fs::path& path : FilesIn(folder)) ::unlink(path.c_str());
  // FOLDER/spool, attempts/2, attempts, and the job's.
  fs::path above = folder;
  for (int i = 0; i < 4 && ::rmdir(above.c_str()) == 0; ++i) above = above.parent_path();
}

bool ReceiveSpool(std::string_view sent, const fs::path& folder) {
  std::map<std::string, std::string> files;
  std::string* current = nullptr;
  bool whole = false;
  report::ReadRecords(sent, [&](RecordType type, std::string_view payload) {
    if (type == kFile) {
      current = IsSpoolName(payload) ? &files[std::string(payload)] : nullptr;
    } else if (type == kData && current != nullptr) {
      current->append(payload);
    } else if (type == kEnd) {
      whole = true;
    }
  });
  for (const auto& [name, content] : files) {
    std::error_code none;
    const auto there = fs::file_size(folder / name, none);
    // A transfer that was begun before and cut short.
    if (!none && there >= content.size()) continue;
    WriteFileAtomically(folder / name, content);
  }
  return whole;
}

}  // namespace syncbn::coordinator
