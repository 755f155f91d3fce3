// TLS and mutual TLS with certificates made here, and their replacement while the server runs.
#include "coordinator/service/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "base/certificate.h"
#include "tests/coordinator/service/service_fixture.h"
#include "tests/support/process.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class TlsTest : public ::testing::Test {
 protected:
  // A certificate for localhost that is its own root.
  void MakeCertificate(const std::string& name, const std::string& common_name,
                       const std::string& days = "30") {
    const ProcessResult result = RunProcess(
        {.argv = {"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:prime256v1", "-nodes", "-days", days, "-subj",
                  "/CN=" + common_name, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                  "-keyout", Path(name + ".key"), "-out", Path(name + ".crt")}});
    ASSERT_EQ(result.status, 0) << result.err;
  }
  std::string Path(const std::string& name) const { return (files.path() / name).string(); }

  // What a client says that trusts `root` and shows `identity`, if that is given.
  std::string CallTrusting(const std::string& root, const std::string& identity = "",
                           std::chrono::seconds deadline = 20s) {
    grpc::SslCredentialsOptions options{.pem_root_certs = ReadFile(Path(root + ".crt"))};
    if (!identity.empty()) {
      options.pem_private_key = ReadFile(Path(identity + ".key"));
      options.pem_cert_chain = ReadFile(Path(identity + ".crt"));
    }
    // Not a connection that another client has opened.
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(server.server->addresses().front(),
                                                   grpc::SslCredentials(options), arguments);
    Context context("", deadline);
    v1::GetJobRequest request;
    request.set_name("jobs/1");
    v1::Job job;
    return Say(v1::JobService::NewStub(channel)->GetJob(&context, request, &job));
  }
  TlsFiles Files(const std::string& name) const {
    return {.certificate = Path(name + ".crt"), .key = Path(name + ".key"), .reload_every = 1s};
  }

  TempFolder files;
  TestServer server;
};

constexpr const char* kServed = "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/1";

TEST_F(TlsTest, ServesThoseWhoTrustItsCertificate) {
  MakeCertificate("server", "server");
  MakeCertificate("other", "other");
  server.options.tls = Files("server");
  server.Start();
  EXPECT_EQ(CallTrusting("server"), kServed);
  EXPECT_EQ(server.server->WhyNotReady(), "");
  EXPECT_THAT(CallTrusting("other"), StartsWith("UNAVAILABLE "));
  // And not in the open.
  Context context("", 20s);
  v1::Job job;
  EXPECT_FALSE(
      v1::JobService::NewStub(server.Channel())->GetJob(&context, v1::GetJobRequest(), &job).ok());
}

TEST_F(TlsTest, MutualTlsAsksForACertificateOfItsRoot) {
  MakeCertificate("server", "server");
  MakeCertificate("client", "client");
  MakeCertificate("stranger", "stranger");
  server.options.tls = Files("server");
  server.options.tls->client_ca = Path("client.crt");
  server.Start();
  EXPECT_EQ(CallTrusting("server", "client"), kServed);
  EXPECT_EQ(server.server->WhyNotReady(), "");
  EXPECT_THAT(CallTrusting("server"), StartsWith("UNAVAILABLE "));
  EXPECT_THAT(CallTrusting("server", "stranger"), StartsWith("UNAVAILABLE "));
}

TEST_F(TlsTest, ANewCertificateIsUsedWithoutARestart) {
  MakeCertificate("old", "old");
  MakeCertificate("new", "new");
  for (const char* kind : {".crt", ".key"}) {
    std::filesystem::copy_file(Path(std::string("old") + kind), Path(std::string("now") + kind));
  }
  server.options.tls = Files("now");
  server.Start();
  ASSERT_EQ(CallTrusting("old"), kServed);
  for (const char* kind : {".crt", ".key"}) {
    std::filesystem::rename(Path(std::string("new") + kind), Path(std::string("now") + kind));
  }
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  std::string said;
  do {
    std::this_thread::sleep_for(50ms);
    said = CallTrusting("now", "", 5s);
  } while (said != kServed && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(said, kServed);
  EXPECT_THAT(CallTrusting("old"), StartsWith("UNAVAILABLE "));
}

TEST_F(TlsTest, FilesThatCannotBeUsedAreNamedAtTheStart) {
  MakeCertificate("server", "server");
  MakeCertificate("other", "other");
  auto refusal = [&](const TlsFiles& tls) {
    return ErrorOf([&] { MakeTlsCredentials(tls); });
  };
  EXPECT_THAT(refusal({.certificate = Path("none.crt"), .key = Path("server.key")}),
              StartsWith("NOT_FOUND: "));
  EXPECT_EQ(refusal({.certificate = Path("server.key"), .key = Path("server.key")}),
            "INVALID_ARGUMENT: " + Path("server.key") +
                ": holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  EXPECT_EQ(refusal({.certificate = Path("server.crt"), .key = Path("server.crt")}),
            "INVALID_ARGUMENT: " + Path("server.crt") +
                ": holds no private key in PEM form without a password");
  EXPECT_EQ(refusal({.certificate = Path("server.crt"), .key = Path("other.key")}),
            "INVALID_ARGUMENT: " + Path("other.key") + ": is not the key of the certificate " +
                Path("server.crt"));
  ManualClock later(ExpiryOf(Path("server.crt")));
  EXPECT_EQ(ErrorOf([&] { MakeTlsCredentials(Files("server"), later); }),
            "INVALID_ARGUMENT: " + Path("server.crt") + ": the certificate expired at " +
                FormatTime(later.Now()));
}

}  // namespace
}  // namespace syncbn::coordinator
