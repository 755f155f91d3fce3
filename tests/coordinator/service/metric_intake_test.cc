// Streams of metric points: how many there can be, and what is no point.
#include "coordinator/service/metric_intake.h"

#include <sstream>

#include "base/file.h"
#include "tests/coordinator/service/real_services_fixture.h"
#include "tests/coordinator/service/server_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::StartsWith;

constexpr const char* kReportMetrics = "/syncbn.v1.WorkerService/ReportMetrics";

int Threads() {
  std::istringstream status(ReadFile("/proc/self/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Threads:")) return std::stoi(line.substr(8));
  }
  return 0;
}

class MetricIntakeTest : public RealServicesTest {
 protected:
  MetricIntakeTest() : job(SubmitRunning()) {
    std::lock_guard lock(mutex);
    token = tokens.at(AttemptName(job, 1));
  }
  v1::ReportMetricsRequest Batch() const {
    v1::ReportMetricsRequest request;
    request.mutable_rank()->set_attempt(AttemptName(job, 1));
    *request.mutable_batch() = TestBatch(1, 2);
    return request;
  }

  int64_t job;
  std::string token;
};

TEST_F(MetricIntakeTest, AThousandRanksOfAJobReportAtTheSameTimeWithoutAThreadForEach) {
  using Stream = grpc::ClientReaderWriter<v1::ReportMetricsRequest, v1::ReportMetricsResponse>;
  // gRPC's own limit of streams is that of one connection.
  constexpr int kStreams = 1100, kConnections = 2;
  std::vector<std::unique_ptr<v1::WorkerService::Stub>> stubs;
  for (int i = 0; i < kConnections; ++i) {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(v1::WorkerService::NewStub(grpc::CreateCustomChannel(
        server.addresses().front(), grpc::InsecureChannelCredentials(), own)));
  }
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<std::unique_ptr<Stream>> streams;
  v1::ReportMetricsResponse answer;
  for (int i = 0; i < kStreams; ++i) {
    contexts.push_back(std::make_unique<Context>(token));
    streams.push_back(
        stubs[static_cast<size_t>(i % kConnections)]->ReportMetrics(contexts.back().get()));
    ASSERT_TRUE(streams.back()->Write(Batch())) << i;
    ASSERT_TRUE(streams.back()->Read(&answer)) << i << ": " << Say(streams.back()->Finish());
    EXPECT_EQ(answer.acknowledged(), 2);
  }
  EXPECT_LT(Threads(), 300);
  for (const auto& stream : streams) {
    stream->WritesDone();
    EXPECT_FALSE(stream->Read(&answer));
    EXPECT_EQ(Say(stream->Finish()), "OK");
  }
}

TEST_F(MetricIntakeTest, BytesThatAreNoMessageAreInvalidAndTheEndOfAStreamIsNot) {
  EXPECT_EQ(Say(CallWith(channel, kReportMetrics, "\x0a\x7f", token)),
            "INVALID_ARGUMENT MESSAGE_INVALID: the bytes of the request are no message of "
            "WorkerService/ReportMetrics: they are damaged, or of another method or version");
  EXPECT_EQ(Say(CallWith(channel, kReportMetrics, Batch().SerializeAsString(), token)), "OK");
  // An empty message is one: it names no attempt.
  EXPECT_THAT(Say(CallWith(channel, kReportMetrics, "", token)),
              StartsWith("INVALID_ARGUMENT FIELD_INVALID"));
  Context context(token);
  const auto stream = v1::WorkerService::NewStub(channel)->ReportMetrics(&context);
  stream->WritesDone();
  EXPECT_EQ(Say(stream->Finish()), "OK");
}

TEST_F(MetricIntakeTest, AStreamThatIsGivenUpIsReturned) {
  const auto open = [&](int count) {
    return metrics.Text().find("{method=\"WorkerService/ReportMetrics\"} " + std::to_string(count) +
                               "\n") != std::string::npos;
  };
  {
    Context context(token);
    const auto stream = v1::WorkerService::NewStub(channel)->ReportMetrics(&context);
    v1::ReportMetricsResponse answer;
    ASSERT_TRUE(stream->Write(Batch()));
    ASSERT_TRUE(stream->Read(&answer));
    EXPECT_TRUE(open(1)) << metrics.Text();
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  WaitUntil("it is returned", [&] { return open(0); });
}

}  // namespace
}  // namespace syncbn::coordinator
