// TLS mistakes of users, against a real server: each is a sentence that says what to do, and nothing
// of gRPC's own words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/connection.h"
#include "tests/coordinator/service/service_fixture.h"
#include "tests/support/process.h"

namespace syncbn::client {
namespace {

using coordinator::TestServer;
using coordinator::TlsFiles;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ClientTlsTest : public testing::Test {
 protected:
  // A certificate that is its own root.
  void MakeCertificate(const std::string& name,
                       const std::string& names = "DNS:localhost,IP:127.0.0.1") {
    OpenSsl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "30", "-subj", "/CN=" + name, "-addext", "subjectAltName=" + names, "-keyout",
             Path(name + ".key"), "-out", Path(name + ".crt")});
  }
  // One whose time is over as soon as it is made, signed by `authority`.
  void MakeExpiredCertificate(const std::string& name, const std::string& authority) {
    OpenSsl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
             "/CN=" + name, "-keyout", Path(name + ".key"), "-out", Path(name + ".csr")});
    OpenSsl({"x509", "-req", "-in", Path(name + ".csr"), "-CA", Path(authority + ".crt"), "-CAkey",
             Path(authority + ".key"), "-CAcreateserial", "-days", "0", "-out", Path(name + ".crt")});
  }
  static void OpenSsl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    const ProcessResult result = RunProcess({.argv = arguments});
    ASSERT_EQ(result.status, 0) << result.err;
  }
  std::string Path(const std::string& name) const { return (files.path() / name).string(); }

  // Serves with the certificate, if one is given; clients must then show one that `client_ca` signed.
  std::string Serve(const std::string& certificate, const std::string& client_ca = "") {
    if (!certificate.empty()) {
      server.options.tls = TlsFiles{.certificate = Path(certificate + ".crt"),
                                    .key = Path(certificate + ".key")};
      if (!client_ca.empty()) server.options.tls->client_ca = Path(client_ca + ".crt");
    }
    server.Start();
    return server.server->addresses().front();
  }
  Connection::Options With(const std::string& address, const std::string& ca,
                           const std::string& identity = "") const {
    Connection::Options options{
        .address = address, .tries = 2, .first_pause = std::chrono::milliseconds(10)};
    if (!ca.empty()) options.tls_ca = Path(ca + ".crt");
    if (!identity.empty()) {
      options.tls_cert = Path(identity + ".crt");
      options.tls_key = Path(identity + ".key");
    }
    return options;
  }
  // What a user of such a connection is told.
  static std::string Told(const Connection::Options& options) {
    v1::GetJobRequest request;
    request.set_name("jobs/1");
    try {
      Connection(options).Call(&v1::JobService::Stub::GetJob, request);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  TempFolder files;
  TestServer server;
};

constexpr const char* kServed = "there is no job jobs/1";

TEST_F(ClientTlsTest, AServerOfAnotherAuthorityOrInTheOpenIsToldApart) {
  MakeCertificate("server");
  MakeCertificate("other");
  const std::string address = Serve("server");
  EXPECT_EQ(Told(With(address, "server")), kServed);
  EXPECT_EQ(Told(With(address, "other")),
            "the certificate of the server at " + address +
                " is not signed by the authority in --tls-ca, or has expired\n  give the file of the right "
                "authority with --tls-ca or SYNCBN_TLS_CA, or have the server's certificate renewed");
  EXPECT_EQ(Told(With(address, "")),
            "what listens at " + address +
                " hung up\n  if it uses TLS, give --tls-ca FILE or SYNCBN_TLS_CA; if not, it is just ending, "
                "has too many connections (of this machine, or in all), or is no coordinator");
}

TEST_F(ClientTlsTest, AServerWithoutTlsIsNamedAsThat) {
  MakeCertificate("server");
  const std::string address = Serve("");
  EXPECT_EQ(Told(With(address, "server")), "what listens at " + address +
                                               " does not use TLS\n  leave out --tls-ca and SYNCBN_TLS_CA");
}

TEST_F(ClientTlsTest, ACertificateForAnotherNameSaysWhichNameWasAskedFor) {
  MakeCertificate("server", "DNS:elsewhere.example");
  const std::string address = Serve("server");
  EXPECT_THAT(Told(With(address, "server")),
              StartsWith("the certificate of the server at " + address +
                         " is for another name than 127.0.0.1\n  give --coordinator a name that is in it"));
}

TEST_F(ClientTlsTest, AMissingOrForeignCertificateOfTheClientIsToldAsThat) {
  MakeCertificate("server");
  MakeCertificate("client");
  MakeCertificate("stranger");
  const std::string address = Serve("server", "client");
  EXPECT_EQ(Told(With(address, "server", "client")), kServed);
  EXPECT_EQ(Told(With(address, "server")),
            "the server at " + address +
                " hung up after the TLS handshake\n  if it asks for certificates of its clients, give "
                "--tls-cert and --tls-key; if not, it is just ending, or has too many "
                "connections");
  EXPECT_EQ(Told(With(address, "server", "stranger")),
            "the server at " + address +
                " hung up after the TLS handshake\n  it does not take the certificate in --tls-cert, which the "
                "authority that the server trusts (its --tls-client-ca) must have signed; or it is just "
                "ending, or has too many connections");
}

TEST_F(ClientTlsTest, FilesThatCannotWorkAreNamedBeforeAnythingIsSent) {
  MakeCertificate("server");
  MakeCertificate("client");
  MakeExpiredCertificate("expired", "client");
  const Connection::Options good = With("127.0.0.1:1", "server", "client");
  Connection::Options options = good;
  options.tls_ca = Path("server.key");
  EXPECT_EQ(Told(options), Path("server.key") +
                               ": holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  options = good;
  options.tls_key = Path("server.key");
  EXPECT_EQ(Told(options), Path("server.key") + ": is not the key of the certificate " + Path("client.crt"));
  options = good;
  std::swap(options.tls_cert, options.tls_key);
  EXPECT_EQ(Told(options), Path("client.key") +
                               ": holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  EXPECT_THAT(Told(With("127.0.0.1:1", "server", "expired")),
              StartsWith(Path("expired.crt") + ": the certificate expired at 2"));
}

TEST_F(ClientTlsTest, ACommandPrintsTheSentenceAndNothingOfGrpc) {
  MakeCertificate("server");
  MakeCertificate("other");
  const std::string address = Serve("server");
  ProcessOptions command{.argv = {SyncbnProgram(), "jobs", "--coordinator", address, "--tls-ca",
                                  Path("other.crt")},
                         .environment = {{"SYNCBN_USER_TOKEN", ""}}};
  const ProcessResult plain = RunProcess(command);
  EXPECT_EQ(plain.status, 9);
  EXPECT_THAT(plain.err, StartsWith("syncbn: the certificate of the server at " + address));
  EXPECT_THAT(plain.err, Not(HasSubstr(".cc:")));
  command.environment["GRPC_VERBOSITY"] = "ERROR";
  EXPECT_THAT(RunProcess(command).err, HasSubstr("ssl_transport_security.cc:")) << "who asks for it gets it";
}

}  // namespace
}  // namespace syncbn::client
