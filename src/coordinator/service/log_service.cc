#include "coordinator/service/log_service.h"

#include <atomic>

#include "coordinator/api_error.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/service/log_reader.h"

namespace syncbn::coordinator {
namespace {

constexpr int64_t kDefaultBytes = int64_t{1} << 20, kMostBytes = int64_t{3} << 20;
// What a stream holds of a log at one time.
constexpr int64_t kFollowBytes = 64 * 1024;
// The supervisor writes without telling anybody, so followers look at the file's size.
constexpr std::chrono::milliseconds kPoll{200};
// A rank that prints nothing must not make one call read a gigabyte.
constexpr int64_t kMostScanned = int64_t{16} << 20;

struct LogName {
  AttemptId id;
  bool output = true;  // or the supervisor's
};

LogName ParseLogName(const std::string& name) {
  const size_t logs = name.find("/logs/");
  const std::string kind = logs == std::string::npos ? "" : name.substr(logs + 6);
  if (kind != "output" && kind != "supervisor") {
    ThrowFieldInvalid("name", "'" + name.substr(0, 100) +
                                  "' is not the name of a log: write "
                                  "jobs/JOB/attempts/ATTEMPT/logs/output or .../logs/supervisor");
  }
  return {ParseAttemptName(name.substr(0, logs)), kind == "output"};
}

std::filesystem::path PathOf(const Store& store, const LogName& name) {
  const AttemptFolder folder(store.folder() / AttemptName(name.id.job, name.id.attempt));
  return name.output ? folder.output_log() : folder.supervisor_log();
}

// Nothing will be added: the coordinator has closed the attempt. Throws when there is none.
bool IsComplete(const Store& store, AttemptId id) {
  return store.Read([&](Tables& tables) {
    tables.jobs.Get(id.job);
    return tables.attempts.Get(id).outcome() != v1::ATTEMPT_OUTCOME_UNSPECIFIED;
  });
}

void CheckRank(const Store& store, const LogName& name, const std::optional<int>& rank) {
  if (!rank) return;
  if (!name.output) ThrowFieldInvalid("rank", "the supervisor's log has no ranks: leave rank out");
  int processes = 0;
  const v1::Attempt attempt =
      store.Read([&](Tables& tables) { return tables.attempts.Get(name.id); });
  for (const v1::HostShare& share : attempt.hosts()) processes += share.processes();
  // Under a batch system it may not be known where the processes are.
  if (*rank >= 0 && (*rank < processes || processes == 0)) return;
  ThrowFieldInvalid("rank", AttemptName(name.id.job, name.id.attempt) + " has no rank " +
                                std::to_string(*rank) +
                                (processes == 0   ? "; ranks begin at 0"
                                 : processes == 1 ? "; its only rank is 0"
                                                  : "; its ranks are 0 to " +
                                                        std::to_string(processes - 1)));
}

// An attempt that never came so far that it printed has no log, now that it is over.
void CheckThere(const Store& store, const LogName& name, bool complete) {
  if (!complete || std::filesystem::exists(PathOf(store, name))) return;
  throw ApiError(ErrorCode::kNotFound, "LOG_NOT_FOUND",
                 AttemptName(name.id.job, name.id.attempt) + " left no " +
                     (name.output ? "output" : "log of its supervisor") +
                     ": it ended before it printed anything, or its folder was removed");
}

void Fill(v1::LogChunk& chunk, LogPiece piece, bool complete) {
  chunk.set_data(std::move(piece.data));
  chunk.set_offset(piece.offset);
  chunk.set_next_offset(piece.next_offset);
  chunk.set_end(complete && piece.next_offset == piece.size);
}

class LogSource final : public StreamSource<v1::FollowLogResponse> {
 public:
  LogSource(Store& store, const v1::FollowLogRequest& request, Waker waker)
      : store_(store),
        name_(ParseLogName(request.name())),
        rank_(request.has_rank() ? std::optional<int>(request.rank()) : std::nullopt),
        offset_(request.offset()),
        reader_(PathOf(store, name_)) {
    job_changes_ =
        store.changes().Subscribe(Change::Kind::kJob, name_.id.job, [this, waker] {
          job_changed_ = true;
          waker();
        });
    complete_ = IsComplete(store_, name_.id);
    CheckRank(store_, name_, rank_);
    CheckThere(store_, name_, complete_);
  }

  Next Fill(v1::FollowLogResponse& response) override {
    if (end_sent_) return Next::kEnd;
    // Before the log is read: what an attempt that is complete wrote is there.
    if (!complete_ && job_changed_.exchange(false)) complete_ = IsComplete(store_, name_.id);
    for (int64_t scanned = 0; scanned < kMostScanned; scanned += kFollowBytes) {
      LogPiece piece = reader_.Read(offset_, kFollowBytes, rank_, complete_);
      const bool end = complete_ && piece.next_offset == piece.size;
      const bool moved = piece.next_offset != piece.offset;
      offset_ = piece.next_offset;
      if (piece.data.empty() && !end) {
        if (moved) continue;
        return Next::kWait;
      }
      end_sent_ = end;
      coordinator::Fill(*response.mutable_chunk(), std::move(piece), complete_);
      return Next::kSend;
    }
    // Lines of others only: say where we are, so that a new stream need not look at them again.
    response.mutable_chunk()->set_offset(offset_);
    response.mutable_chunk()->set_next_offset(offset_);
    return Next::kSend;
  }

  void FillBookmark(v1::FollowLogResponse& response) override { response.mutable_bookmark(); }
  std::optional<std::chrono::milliseconds> poll() const override { return kPoll; }

 private:
  Store& store_;
  LogName name_;
  std::optional<int> rank_;
  int64_t offset_;
  LogReader reader_;
  bool complete_ = false;
  bool end_sent_ = false;
  std::atomic<bool> job_changed_ = false;
  // Last: its listener uses what stands above.
  ChangeFeed::Subscription job_changes_;
};

}  // namespace

grpc::Status LogService::ListLogs(grpc::ServerContext* context, const v1::ListLogsRequest* request,
                                  v1::ListLogsResponse* response) {
  return gate_.Run(*context, "LogService/ListLogs", request, [&](Call&) {
    std::vector<AttemptId> attempts;
    if (request->parent().find("/attempts/") != std::string::npos) {
      attempts.push_back(ParseAttemptName(request->parent(), "parent"));
    } else {
      const int64_t job = ParseJobName(request->parent(), "parent");
      store_.Read([&](Tables& tables) {
        tables.jobs.Get(job);
        for (const int number : tables.attempts.Numbers(job)) attempts.push_back({job, number});
      });
    }
    for (const AttemptId id : attempts) {
      const bool complete = IsComplete(store_, id);
      for (const bool output : {true, false}) {
        const std::filesystem::path path = PathOf(store_, {id, output});
        std::error_code missing;
        const auto size = std::filesystem::file_size(path, missing);
        if (missing) continue;
        v1::LogInfo& log = *response->add_logs();
        log.set_name(AttemptName(id.job, id.attempt) +
                     (output ? "/logs/output" : "/logs/supervisor"));
        log.set_size_bytes(static_cast<int64_t>(size));
        log.set_complete(complete);
        if (!output || !complete) continue;
        // How many lines were dropped is not worth an answer that tells of no log at all.
        std::string unused;
        const auto exit =
            ReadOrNote([&] { return AttemptFolder(path.parent_path()).Exit(); }, unused);
        if (exit) log.set_dropped_lines(exit->dropped_lines());
      }
    }
  });
}

grpc::Status LogService::ReadLog(grpc::ServerContext* context, const v1::ReadLogRequest* request,
                                 v1::LogChunk* response) {
  return gate_.Run(*context, "LogService/ReadLog", request, [&](Call&) {
    const LogName name = ParseLogName(request->name());
    std::optional<int> rank;
    if (request->has_rank()) rank = request->rank();
    if (request->max_bytes() < 0 || request->max_bytes() > kMostBytes) {
      ThrowFieldInvalid("max_bytes", "max_bytes is " + std::to_string(request->max_bytes()) +
                                         "; it can be 1 to " + std::to_string(kMostBytes));
    }
    const int64_t bytes = request->max_bytes() == 0 ? kDefaultBytes : request->max_bytes();
    const bool complete = IsComplete(store_, name.id);
    CheckRank(store_, name, rank);
    CheckThere(store_, name, complete);
    LogReader reader(PathOf(store_, name));
    LogPiece piece = reader.Read(request->offset(), bytes, rank, complete);
    const int64_t began = piece.offset;
    // Lines of other ranks only: look further.
    while (piece.data.empty() && piece.next_offset != piece.offset &&
           piece.next_offset < piece.size && piece.next_offset - began < kMostScanned) {
      piece = reader.Read(piece.next_offset, bytes, rank, complete);
    }
    piece.offset = began;
    Fill(*response, std::move(piece), complete);
  });
}

grpc::ServerWriteReactor<v1::FollowLogResponse>* LogService::FollowLog(
    grpc::CallbackServerContext* context, const v1::FollowLogRequest* request) {
  return Follow<v1::FollowLogResponse>(pool_, gate_, *context, "LogService/FollowLog", *request,
                                       [this, request](const Caller&, const Waker& waker) {
                                         return std::make_unique<LogSource>(store_, *request, waker);
                                       });
}

}  // namespace syncbn::coordinator
