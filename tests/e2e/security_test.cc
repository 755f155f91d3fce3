// Tokens, roles and TLS as users meet them: a real coordinator, real commands, a job whose workers report.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SecurityTest : public testing::Test {
 protected:
  void Serve(std::vector<std::string> extra = {}) {
    std::vector<std::string> argv = {SyncbnProgram(), "serve", "--data", Path("data"), "--listen",
                                     "127.0.0.1:0", "--http", "off", "--slots", "2", "--heartbeat=0.2"};
    argv.insert(argv.end(), extra.begin(), extra.end());
    server_.emplace(ProcessOptions{.argv = argv, .timeout = std::chrono::seconds(300)});
    ASSERT_TRUE(server_->WaitForText("syncbn serves on ", std::chrono::seconds(60))) << server_->Err();
    address_ = nlohmann::json::parse(ReadFile(folder_.path() / "data/server.json"))["grpc"];
  }
  ~SecurityTest() override {
    if (!server_) return;
    server_->Signal(SIGTERM);
    EXPECT_EQ(server_->Wait().status, 0);
  }
  ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), SyncbnProgram());
    return RunProcess({.argv = arguments,
                       .environment = {{"SYNCBN_SERVER", address_}},
                       .timeout = std::chrono::seconds(120)});
  }
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string RunFile() {
    WriteFileAtomically(Path("run.yaml"), SmallRun(2, 4, "global"));
    return Path("run.yaml");
  }
  // An authority, and certificates of 127.0.0.1 that it signed.
  void MakeCertificates(const std::vector<std::string>& names) {
    std::string script =
        "set -e; cd " + folder_.path().string() +
        "; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca "
        "-keyout ca.key -out ca.pem; printf 'subjectAltName=IP:127.0.0.1' > san; ";
    for (const std::string& name : names) {
      script += "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name +
                " -keyout " + name + ".key -out " + name + ".csr; openssl x509 -req -in " + name +
                ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out " + name +
                ".pem; ";
    }
    const ProcessResult made = RunProcess({.argv = {"/bin/sh", "-c", script}});
    ASSERT_EQ(made.status, 0) << made.err;
  }

  TempFolder folder_;
  std::optional<Process> server_;
  std::string address_;
};

TEST_F(SecurityTest, TokensOpenWhatTheirRolesAllow) {
  Serve({"--admin-token-file", Path("admin.token")});
  struct stat status {};
  ASSERT_EQ(::stat(Path("admin.token").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const ProcessResult nobody = Run({"jobs"});
  EXPECT_EQ(nobody.status, 2) << nobody.err;
  EXPECT_THAT(nobody.err, HasSubstr("--token-file"));
  EXPECT_EQ(nobody.err.find("--token-file"), nobody.err.rfind("--token-file")) << "once is enough";

  const std::vector<std::string> admin = {"--token-file", Path("admin.token")};
  for (const std::string role : {"viewer", "submitter"}) {
    const ProcessResult made = Run({"token", "create", role, "--role", role, "--out",
                                    Path(role + ".token"), admin[0], admin[1]});
    ASSERT_EQ(made.status, 0) << made.err;
  }
  const ProcessResult refused = Run({"submit", RunFile(), "--token-file", Path("viewer.token")});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("submitter"));
  const ProcessResult done =
      Run({"submit", RunFile(), "--follow", "--token-file", Path("submitter.token")});
  EXPECT_EQ(done.status, 0) << done.out << done.err;
  const ProcessResult metrics = Run({"metrics", "1", "--token-file", Path("viewer.token")});
  EXPECT_THAT(metrics.out, HasSubstr("train/loss"));
  const ProcessResult backup = Run({"backup", "--token-file", Path("submitter.token")});
  EXPECT_EQ(backup.status, 2);
  EXPECT_THAT(backup.err, HasSubstr("admin"));
  EXPECT_EQ(Run({"backup", admin[0], admin[1]}).status, 0);
  EXPECT_THAT(Run({"status", "--token-file", Path("viewer.token")}).out, HasSubstr("jobs           1\n"));

  // A watch that is open ends with the token, at the latest when something would be sent.
  Process watch({.argv = {SyncbnProgram(), "watch", "--token-file", Path("viewer.token")},
                 .environment = {{"SYNCBN_SERVER", address_}},
                 .timeout = std::chrono::seconds(200)});
  for (int i = 0; i < 20 && watch.Out().find("jobs/") == std::string::npos; ++i) {
    EXPECT_EQ(Run({"submit", RunFile(), "--token-file", Path("submitter.token")}).status, 0);
    watch.WaitForText("jobs/", std::chrono::seconds(2));
  }
  EXPECT_EQ(Run({"token", "revoke", "viewer", admin[0], admin[1]}).status, 0);
  EXPECT_EQ(Run({"submit", RunFile(), "--set", "name=after", "--token-file", Path("submitter.token")})
                .status,
            0);
  const ProcessResult ended = watch.Wait();
  EXPECT_EQ(ended.status, 2) << ended.out << ended.err;
  EXPECT_EQ(ended.out.find("after"), std::string::npos) << ended.out;
  EXPECT_EQ(Run({"jobs", "--token-file", Path("viewer.token")}).status, 2);
  const ProcessResult audit = Run({"audit", admin[0], admin[1]});
  for (const char* text : {"JobService/CreateJob", "PERMISSION_DENIED", "UNAUTHENTICATED",
                           "AdminService/RevokeToken", "ClusterService/BackUpStore"}) {
    EXPECT_THAT(audit.out, HasSubstr(text));
  }
}

TEST_F(SecurityTest, UsersAndWorkersSpeakMutualTls) {
  MakeCertificates({"server", "user", "worker"});
  const ProcessResult unheard = RunProcess(
      {.argv = {SyncbnProgram(), "serve", "--data", Path("other"), "--tls-cert", Path("server.pem"),
                "--tls-key", Path("server.key")}});
  EXPECT_EQ(unheard.status, 2);
  EXPECT_THAT(unheard.err, HasSubstr("--worker-ca"));
  // Nor with an authority that is not the certificate's: no worker could connect.
  const ProcessResult distrusted = RunProcess(
      {.argv = {SyncbnProgram(), "serve", "--data", Path("other"), "--tls-cert", Path("server.pem"),
                "--tls-key", Path("server.key"), "--worker-ca", Path("user.pem")}});
  EXPECT_EQ(distrusted.status, 2);
  EXPECT_THAT(distrusted.err, HasSubstr("server.pem: is not signed by the authority in " +
                                        Path("user.pem") + " ("));
  Serve({"--tls-cert", Path("server.pem"), "--tls-key", Path("server.key"), "--tls-client-ca",
         Path("ca.pem"), "--worker-ca", Path("ca.pem"), "--worker-cert", Path("worker.pem"),
         "--worker-key", Path("worker.key")});
  const std::vector<std::string> user = {"--tls-ca",   Path("ca.pem"),   "--tls-cert",
                                         Path("user.pem"), "--tls-key", Path("user.key")};
  std::vector<std::string> submit = {"submit", RunFile(), "--follow"};
  submit.insert(submit.end(), user.begin(), user.end());
  const ProcessResult done = Run(submit);
  EXPECT_EQ(done.status, 0) << done.out << done.err;
  std::vector<std::string> metrics = {"metrics", "1"};
  metrics.insert(metrics.end(), user.begin(), user.end());
  EXPECT_THAT(Run(metrics).out, HasSubstr("train/loss")) << "what the workers reported";
  // Without a certificate, and without TLS.
  const ProcessResult bare = Run({"jobs", "--tls-ca", Path("ca.pem")});
  EXPECT_EQ(bare.status, 9) << bare.err;
  const ProcessResult plain = Run({"jobs"});
  EXPECT_EQ(plain.status, 9) << plain.err;
  EXPECT_THAT(plain.err, HasSubstr("TLS"));
}

}  // namespace
}  // namespace syncbn
