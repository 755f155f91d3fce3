// Logs: read and followed by byte offset, for all ranks or one.
#include <gmock/gmock.h>

#include <thread>

#include "coordinator/service/log_reader.h"
#include "tests/coordinator/service/stream_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using LogStreamTest = StreamTest;

TEST_F(LogStreamTest, ALogIsReadByOffsetInWholeLines) {
  Start();
  AddJob(server.store);
  const AttemptId id = server.AddAttempt(1, 1);
  const std::string name = "jobs/1/attempts/1/logs/output";
  v1::ReadLogRequest request;
  v1::LogChunk chunk;
  request.set_name(name);
  auto read = [&] {
    Context context;
    return Say(logs->ReadLog(&context, request, &chunk));
  };
  EXPECT_EQ(read(), "OK") << "an attempt that has printed nothing yet";
  EXPECT_EQ(chunk.data(), "");
  EXPECT_FALSE(chunk.end());

  Append(LogFile(id), "0: one\n1: two\n-: three\n0: half");
  EXPECT_EQ(read(), "OK");
  EXPECT_EQ(chunk.data(), "0: one\n1: two\n-: three\n");
  EXPECT_EQ(chunk.next_offset(), 23);
  EXPECT_FALSE(chunk.end());
  // Inside a line: from its start. From the end: whole lines too.
  for (const int64_t offset : {10, -20}) {
    request.set_offset(offset);
    EXPECT_EQ(read(), "OK");
    EXPECT_EQ(chunk.data(), "1: two\n-: three\n") << offset;
    EXPECT_EQ(chunk.offset(), 7);
  }
  request.set_offset(0);
  request.set_max_bytes(9);
  EXPECT_EQ(read(), "OK");
  EXPECT_EQ(chunk.data(), "0: one\n");
  request.set_max_bytes(2);
  EXPECT_EQ(read(), "OK");
  EXPECT_EQ(chunk.data(), "0: one\n") << "a line that is longer than asked for comes whole";
  request.clear_max_bytes();
  request.set_rank(1);
  EXPECT_EQ(read(), "OK");
  EXPECT_EQ(chunk.data(), "1: two\n");
  EXPECT_EQ(chunk.next_offset(), 23);
  request.clear_rank();

  request.set_offset(1000);
  EXPECT_EQ(read(),
            "OUT_OF_RANGE FIELD_INVALID: offset 1000 is beyond the end of the log, which has 30 "
            "bytes");
  request.set_offset(0);
  server.CloseAttempt(id);
  EXPECT_EQ(read(), "OK");
  EXPECT_EQ(chunk.data(), "0: one\n1: two\n-: three\n0: half") << "what has no end and gets none";
  EXPECT_TRUE(chunk.end());

  Context context;
  v1::ListLogsRequest list;
  v1::ListLogsResponse listed;
  list.set_parent("jobs/1");
  EXPECT_EQ(Say(logs->ListLogs(&context, list, &listed)), "OK");
  ASSERT_EQ(listed.logs_size(), 1);
  EXPECT_EQ(listed.logs(0).name(), name);
  EXPECT_EQ(listed.logs(0).size_bytes(), 30);
  EXPECT_TRUE(listed.logs(0).complete());
}

TEST_F(LogStreamTest, LogsRefuseWhatIsNotThere) {
  Start();
  AddJob(server.store);
  const AttemptId id = server.AddAttempt(1, 1);
  v1::ReadLogRequest request;
  v1::LogChunk chunk;
  auto read = [&](const std::string& name) {
    Context context;
    request.set_name(name);
    return Say(logs->ReadLog(&context, request, &chunk));
  };
  EXPECT_EQ(read("jobs/1/attempts/1/logs/../../../store.db"),
            "INVALID_ARGUMENT FIELD_INVALID: 'jobs/1/attempts/1/logs/../../../store.db' is not the "
            "name of a log: write jobs/JOB/attempts/ATTEMPT/logs/output or .../logs/supervisor");
  EXPECT_THAT(read("jobs/1/../attempts/1/logs/output"),
              StartsWith("INVALID_ARGUMENT "));
  EXPECT_EQ(read("jobs/2/attempts/1/logs/output"), "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/2");
  EXPECT_EQ(read("jobs/1/attempts/2/logs/output"),
            "NOT_FOUND ATTEMPT_NOT_FOUND: there is no jobs/1/attempts/2");
  request.set_rank(0);
  EXPECT_EQ(read("jobs/1/attempts/1/logs/supervisor"),
            "INVALID_ARGUMENT FIELD_INVALID: the supervisor's log has no ranks: leave rank out");
  request.set_rank(-1);
  EXPECT_EQ(read("jobs/1/attempts/1/logs/output"),
            "INVALID_ARGUMENT FIELD_INVALID: rank is -1; it can be 0 to 2147483647");
  request.clear_rank();
  server.store.Write([&](Tables& tables) {
    v1::Attempt attempt = tables.attempts.Get(id);
    for (const int processes : {2, 1}) attempt.add_hosts()->set_processes(processes);
    tables.attempts.Update(id, attempt);
  });
  request.set_rank(3);
  EXPECT_EQ(read("jobs/1/attempts/1/logs/output"),
            "INVALID_ARGUMENT FIELD_INVALID: jobs/1/attempts/1 has no rank 3; its ranks are 0 to 2");
  request.clear_rank();
  request.set_max_bytes(4 << 20);
  EXPECT_EQ(read("jobs/1/attempts/1/logs/output"),
            "INVALID_ARGUMENT FIELD_INVALID: max_bytes is 4194304; it can be 1 to 3145728");
  request.clear_max_bytes();
  server.CloseAttempt(id);
  EXPECT_EQ(read("jobs/1/attempts/1/logs/output"),
            "NOT_FOUND LOG_NOT_FOUND: jobs/1/attempts/1 left no output: it ended before it printed "
            "anything, or its folder was removed");
}

TEST_F(LogStreamTest, ALogIsFollowedWhileItGrowsFromAnyByteAndForOneRank) {
  Start();
  AddJob(server.store);
  const AttemptId id = server.AddAttempt(1, 1);
  const auto file = LogFile(id);
  std::string whole, of_rank_1;
  std::vector<std::string> pieces;
  for (int i = 0; i < 400; ++i) {
    const std::string line = std::to_string(i % 3) + ": line " + std::to_string(i) + "\n";
    whole += line;
    if (i % 3 == 1) of_rank_1 += line;
    // Written in pieces that do not end at lines.
    pieces.push_back(line.substr(0, 5));
    pieces.push_back(line.substr(5));
  }
  std::thread writer([&] {
    for (size_t i = 0; i < pieces.size(); ++i) {
      Append(file, pieces[i]);
      if (i % 100 == 0) std::this_thread::sleep_for(20ms);
    }
    server.CloseAttempt(id);
  });
  auto follow = [&](int64_t offset, std::optional<int> rank, int64_t* first) {
    Context context;
    v1::FollowLogRequest request;
    request.set_name("jobs/1/attempts/1/logs/output");
    request.set_offset(offset);
    if (rank) request.set_rank(*rank);
    auto stream = logs->FollowLog(&context, request);
    v1::FollowLogResponse response;
    std::string text;
    bool end = false;
    while (stream->Read(&response)) {
      if (!response.has_chunk()) continue;
      EXPECT_FALSE(end);
      if (first != nullptr && text.empty()) *first = response.chunk().offset();
      text += response.chunk().data();
      end = response.chunk().end();
      EXPECT_TRUE(text.empty() || text.back() == '\n');
    }
    EXPECT_TRUE(end);
    EXPECT_EQ(Say(stream->Finish()), "OK");
    return text;
  };
  std::string all, ranked;
  std::thread second([&] { ranked = follow(0, 1, nullptr); });
  all = follow(0, std::nullopt, nullptr);
  writer.join();
  second.join();
  EXPECT_EQ(all, whole);
  EXPECT_EQ(ranked, of_rank_1);
  for (int64_t offset = 0; offset < static_cast<int64_t>(whole.size()); offset += 397) {
    int64_t first = -1;
    const std::string rest = follow(offset, std::nullopt, &first);
    EXPECT_LE(first, offset);
    EXPECT_EQ(whole.substr(0, static_cast<size_t>(first)) + rest, whole);
  }
}

TEST(LogReader, FindsTheStartOfALineFarBack) {
  TempFolder folder;
  const auto path = folder.path() / "log";
  const std::string line = "0: " + std::string(40'000, 'x') + "\n";
  std::ofstream(path) << "0: a\n" << line << "0: b\n";
  LogReader reader(path);
  const LogPiece piece = reader.Read(5 + 39'000, 100, std::nullopt, false);
  EXPECT_EQ(piece.offset, 5);
  EXPECT_EQ(piece.data, line);
  EXPECT_EQ(reader.Read(-1, 100, std::nullopt, false).data, "0: b\n");
}

}  // namespace
}  // namespace syncbn::coordinator
