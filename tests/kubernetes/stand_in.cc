#include "tests/kubernetes/stand_in.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::coordinator {
namespace {

const std::string kFolder = KUBERNETES_TEST_FOLDER;

}  // namespace

KubeStandIn::KubeStandIn(Options options) : options_(std::move(options)) {
  ProcessOptions start;
  start.argv = {"/usr/bin/python3", "-B", kFolder + "/stand_in.py", folder_.path().string()};
  start.timeout = std::chrono::seconds(600);
  if (!options_.role.empty()) start.argv.insert(start.argv.end(), {"--role", options_.role});
  if (!options_.pods) start.argv.push_back("--no-pods");
  if (!options_.token.empty()) {
    WriteFileAtomically(token_file(), options_.token + "\n");
    start.argv.insert(start.argv.end(), {"--token-file", token_file().string()});
  }
  if (options_.tls) {
    const std::string key = (folder_.path() / "key.pem").string();
    const ProcessResult made = RunProcess(
        {.argv = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                  "-nodes", "-keyout", key, "-out", ca_file().string(), "-days", "2", "-subj",
                  "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"}});
    if (made.status != 0) throw std::runtime_error("openssl: " + made.err);
    start.argv.insert(start.argv.end(), {"--cert", ca_file().string(), "--key", key});
  }
  process_.emplace(start);
  if (!process_->WaitForText("serves on ", std::chrono::seconds(60)))
    throw std::runtime_error("the stand-in does not serve: " + process_->Err());
  std::string port = process_->Out();
  port = port.substr(port.find("serves on ") + 10);
  port = port.substr(0, port.find('\n'));
  server_ = (options_.tls ? "https://127.0.0.1:" : "http://127.0.0.1:") + port;
  client_.emplace(access(), KubeClient::Times{});
}

KubeStandIn::~KubeStandIn() {
  process_->Signal(SIGTERM);
  process_->Wait();
  if (std::getenv("SYNCBN_TEST_SHOW") != nullptr) std::printf("%s\n", process_->Err().c_str());
}

KubeAccess KubeStandIn::access() const {
  KubeAccess access{.server = server_, .name_space = "training"};
  if (!options_.token.empty()) access.token_file = token_file();
  if (options_.tls) access.ca_file = ca_file();
  return access;
}

std::vector<std::string> KubeStandIn::Control(const nlohmann::json& orders) {
  const KubeAnswer answer = client_->Call("POST", "/control", orders);
  if (!answer.ok()) throw std::runtime_error("the stand-in refuses " + orders.dump());
  return answer.Json()["log"];
}

int KubeStandIn::Asked(const std::string& what) {
  const std::vector<std::string> log = Control(nlohmann::json::object());
  return static_cast<int>(std::count(log.begin(), log.end(), what));
}

std::vector<nlohmann::json> KubeStandIn::All(const std::string& kind) {
  std::vector<nlohmann::json> all;
  const std::string path = (kind == "mpijobs" ? "/apis/kubeflow.org/v2beta1" : "/api/v1");
  std::string next;
  do {
    const nlohmann::json list = client_
                                    ->Call("GET", path + "/namespaces/training/" + kind +
                                                      (next.empty() ? "" : "?continue=" + next))
                                    .Json();
    if (!list.contains("items")) break;
    for (const nlohmann::json& item : list["items"]) all.push_back(item);
    next = list["metadata"].value("continue", "");
  } while (!next.empty());
  return all;
}

nlohmann::json KubeStandIn::WaitForObject(const std::string& kind, const std::string& name) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    for (nlohmann::json& object : All(kind)) {
      if (object["metadata"]["name"] == name) return object;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return nullptr;
}

std::string KubeStandIn::LogOf(const std::string& pod) const {
  const auto file = folder_.path() / "logs" / pod;
  return std::filesystem::exists(file) ? ReadFile(file) : "";
}

std::string ProblemsOf(const nlohmann::json& mpi_job, const std::string& schema) {
  const TempFolder folder;
  const std::string file = (folder.path() / "object.json").string();
  WriteFileAtomically(file, mpi_job.dump());
  const ProcessResult result =
      RunProcess({.argv = {"/usr/bin/python3", "-B", kFolder + "/schema.py", schema, file}});
  return result.status == 0
             ? ""
             : result.out + result.err + "(status " + std::to_string(result.status) + ")";
}

}  // namespace syncbn::coordinator
