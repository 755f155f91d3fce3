// The REST of a Kubernetes API server: one call at a time, and streams of lines (watches). Knows
// nothing of what the objects are.
//
// Connections are kept and used again. One that the server's side ends early, as it does when it is
// told to go elsewhere (GOAWAY) or is restarted, is no answer: what may be asked twice is asked
// once more over a new one. The token is read from its file at every call, since those of service
// accounts are replaced every hour. Thread-safe.
//
// Of the environment HTTPS_PROXY and NO_PROXY are honoured, as kubectl does: the token goes through
// a proxy under TLS. What is asked without TLS, on this machine, goes through none.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace syncbn::coordinator {

// Where the API server is and who asks.
struct KubeAccess {
  // "https://10.96.0.1:443", no path. http only on this machine (`kubectl proxy`).
  std::string server;
  // Bearer token; empty: none is shown.
  std::filesystem::path token_file;
  // Whom to trust, PEM; empty: the system's authorities.
  std::filesystem::path ca_file;
  std::string name_space;
};

// What a pod finds of its service account. FAILED_PRECONDITION, with what to give instead, outside
// of one.
KubeAccess AccessOfPod(
    const std::filesystem::path& account = "/var/run/secrets/kubernetes.io/serviceaccount");

// INVALID_ARGUMENT for what cannot work: a URL that is none or says more than a host and a port, a
// token over a network in the open, files that are not there.
void ValidateAccess(const KubeAccess& access);

struct KubeAnswer {
  int status = 0;
  std::string body;
  // Of Retry-After, where the server names a time.
  std::optional<std::chrono::seconds> retry_after;

  bool ok() const { return status >= 200 && status < 300; }
  // The body; null where it is no JSON.
  nlohmann::json Json() const { return Parse(body); }
  static nlohmann::json Parse(const std::string& text);
};

class KubeClient {
 public:
  struct Times {
    std::chrono::milliseconds connect = std::chrono::seconds(5);
    // For a whole call; of a stream until its first byte, and between its end by its own
    // timeoutSeconds and ours.
    std::chrono::milliseconds answer = std::chrono::seconds(15);
  };

  KubeClient(KubeAccess access, Times times);
  ~KubeClient();
  KubeClient(const KubeClient&) = delete;
  KubeClient& operator=(const KubeClient&) = delete;

  const KubeAccess& access() const { return access_; }

  // `path` with its query. UNAVAILABLE where no whole answer came, with what curl says and where:
  // the server may have done what it was asked for all the same. GET and DELETE are asked again
  // where a connection ended early.
  KubeAnswer Call(const std::string& method, const std::string& path,
                  const nlohmann::json& body = nullptr);

  // GETs what comes in lines for as long as `time`, the server's own end of it included. begun() is
  // called once the server has agreed; on_line() gets each whole line and returns false to end it,
  // and so does stopped(), which is asked several times a second. The answer has the body only
  // where the server refuses. UNAVAILABLE as above; an end by the server is none.
  KubeAnswer Stream(const std::string& path, std::chrono::seconds time,
                    const std::function<void()>& begun,
                    const std::function<bool(const std::string&)>& on_line,
                    const std::function<bool()>& stopped);

 private:
  class Transfer;
  // Makes a transfer and performs it; once more where its connection ended early and `again`.
  KubeAnswer Perform(const std::function<std::unique_ptr<Transfer>()>& make, bool again);
  void* TakeHandle();
  void ReturnHandle(void* handle);

  const KubeAccess access_;
  const Times times_;
  std::mutex mutex_;
  std::vector<void*> idle_;  // curl handles, each with its connection
};

// One segment or value of a URL.
std::string UrlEncode(const std::string& text);

}  // namespace syncbn::coordinator
