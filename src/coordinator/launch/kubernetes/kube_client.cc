#include "coordinator/launch/kubernetes/kube_client.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <charconv>
#include <cstdlib>
#include <exception>

#include "base/error.h"
#include "base/file.h"
#include "base/untrusted_json.h"

namespace syncbn::coordinator {
namespace {

// Nobody's objects are larger; what is does not belong to the API server.
constexpr size_t kMostBytes = 256 << 20;

std::string Trimmed(std::string text) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && blank(text.back())) text.pop_back();
  size_t begin = 0;
  while (begin < text.size() && blank(text[begin])) ++begin;
  return text.substr(begin);
}

// A part of a URL as curl reads it, which is who will use it; empty where it has none. Nothing
// where the URL is none.
std::optional<std::string> PartOf(const std::string& url, CURLUPart part) {
  const std::unique_ptr<CURLU, void (*)(CURLU*)> parsed(curl_url(), curl_url_cleanup);
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return std::nullopt;
  char* text = nullptr;
  if (curl_url_get(parsed.get(), part, &text, 0) != CURLUE_OK) return "";
  const std::string value = text;
  curl_free(text);
  return value;
}

// An address of this machine alone, or its name. Names that only look like one are anybody's.
bool IsOnThisMachine(const std::string& url) {
  const std::string host = PartOf(url, CURLUPART_HOST).value_or("");
  if (host == "localhost" || host == "[::1]") return true;
  in_addr address{};
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

// The server's side has ended the connection, or this stream of it, before it was through: it was
// restarted, or it wants its clients elsewhere.
bool EndedEarly(CURLcode result) {
  return result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR || result == CURLE_GOT_NOTHING ||
         result == CURLE_PARTIAL_FILE || result == CURLE_HTTP2 || result == CURLE_HTTP2_STREAM;
}

// A header, or nothing.
std::string AuthorizationOf(const KubeAccess& access) {
  if (access.token_file.empty()) return "";
  try {
    return "Authorization: Bearer " + Trimmed(ReadFile(access.token_file));
  } catch (const Error& error) {
    // It may be on its way: tokens of service accounts are replaced.
    throw Error(ErrorCode::kUnavailable, "the token for Kubernetes: " + error.message());
  }
}

// Once for the process, before any of its threads uses curl.
void InitializeCurl() {
  static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (result != CURLE_OK) throw Error(ErrorCode::kInternal, "libcurl cannot be initialized");
}

}  // namespace

KubeAccess AccessOfPod(const std::filesystem::path& account) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || !std::filesystem::exists(account / "token")) {
    throw Error(
        ErrorCode::kFailedPrecondition,
        "this is no pod with a service account (KUBERNETES_SERVICE_HOST and " +
            (account / "token").string() +
            "): say with --kube-api, --kube-token, --kube-ca and --kube-namespace where the "
            "API server is (a kubeconfig is not read; `kubectl config view --raw` shows what "
            "is in it, and --kube-api http://127.0.0.1:8001 goes through `kubectl proxy`)");
  }
  const std::string name = host;
  return {.server = "https://" + (name.find(':') == std::string::npos ? name : "[" + name + "]") +
                    ":" + port,
          .token_file = account / "token",
          .ca_file = account / "ca.crt",
          .name_space = Trimmed(ReadFile(account / "namespace"))};
}

void ValidateAccess(const KubeAccess& access) {
  auto refuse = [](const std::string& why) { throw Error(ErrorCode::kInvalidArgument, why); };
  const bool secure = access.server.starts_with("https://");
  if ((!secure && !access.server.starts_with("http://")) ||
      PartOf(access.server, CURLUPART_HOST).value_or("").empty())
    refuse("--kube-api must be a URL such as https://10.0.0.1:6443, found '" + access.server + "'");
  if (access.server.find('/', access.server.find("//") + 2) != std::string::npos)
    refuse("--kube-api must be a URL without a path, found '" + access.server + "'");
  for (const CURLUPart part :
       {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    if (!PartOf(access.server, part)->empty())
      refuse("--kube-api must be a URL of a host and a port alone, found '" + access.server + "'");
  }
  if (!secure && !access.token_file.empty())
    refuse("--kube-token with " + access.server + " would send the token in the open: use https");
  if (!secure && !IsOnThisMachine(access.server))
    refuse("--kube-api " + access.server + " is neither https nor on this machine");
  if (access.name_space.empty()) refuse("--kube-namespace NAME is needed with --kube-api");
  for (const auto& file : {access.token_file, access.ca_file}) {
    if (!file.empty()) ReadFile(file);  // says which one cannot be read, and why
  }
}

nlohmann::json KubeAnswer::Parse(const std::string& text) {
  return UntrustedJsonOrNull(text);
}

std::string UrlEncode(const std::string& text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      encoded += static_cast<char>(c);
    } else {
      encoded += '%';
      encoded += kHex[c >> 4];
      encoded += kHex[c & 15];
    }
  }
  return encoded;
}

// One request on one handle.
class KubeClient::Transfer {
 public:
  Transfer(KubeClient& client, const std::string& method, const std::string& path)
      : client_(client),
        authorization_(AuthorizationOf(client.access_)),
        curl_(client.TakeHandle()),
        what_(method + " " + path) {
    const KubeAccess& access = client.access_;
    Set(CURLOPT_URL, (access.server + path).c_str());
    Set(CURLOPT_CUSTOMREQUEST, method.c_str());
    Set(CURLOPT_NOSIGNAL, 1L);
    Set(CURLOPT_USERAGENT, "syncbn");
    Set(CURLOPT_TCP_KEEPALIVE, 1L);
    Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(client.times_.connect.count()));
    // A redirect would take the token elsewhere; the API server makes none.
    Set(CURLOPT_FOLLOWLOCATION, 0L);
    if (access.server.starts_with("http://")) Set(CURLOPT_PROXY, "");
    if (!access.ca_file.empty()) Set(CURLOPT_CAINFO, access.ca_file.c_str());
    Set(CURLOPT_ERRORBUFFER, error_);
    Set(CURLOPT_WRITEDATA, this);
    Set(CURLOPT_WRITEFUNCTION, &Transfer::OnBytes);
    Set(CURLOPT_HEADERDATA, this);
    Set(CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
    AddHeader("Accept: application/json");
    if (!authorization_.empty()) AddHeader(authorization_);
  }
  ~Transfer() {
    curl_slist_free_all(headers_);
    client_.ReturnHandle(curl_);
  }

  void AddHeader(const std::string& line) { headers_ = curl_slist_append(headers_, line.c_str()); }
  template <typename Value>
  void Set(CURLoption option, Value value) {
    curl_easy_setopt(curl_, option, value);
  }
  KubeAnswer Perform() {
    Set(CURLOPT_HTTPHEADER, headers_);
    const CURLcode result = curl_easy_perform(curl_);
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    answer_.status = static_cast<int>(status);
    if (thrown_) std::rethrow_exception(thrown_);
    if (result == CURLE_OK || ended_) return std::move(answer_);
    // A stream that the server's side breaks off has said what it had to say.
    if (on_line && begun_ && EndedEarly(result)) return std::move(answer_);
    ended_early_ = EndedEarly(result);
    throw Error(ErrorCode::kUnavailable,
                "the API server of Kubernetes at " + client_.access_.server + " does not answer: " +
                    (error_[0] != '\0' ? error_ : curl_easy_strerror(result)) + " (" + what_ + ")");
  }

  // Why Perform() has thrown.
  bool ended_early() const { return ended_early_; }

  std::function<void()> on_begin;
  std::function<bool(const std::string&)> on_line;  // of streams
  std::function<bool()> stopped;

  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    Transfer& transfer = *static_cast<Transfer*>(self);
    transfer.ended_ = transfer.ended_ || transfer.stopped();
    return transfer.ended_ ? 1 : 0;
  }

 private:
  // Nothing may be thrown through curl.
  static size_t OnHeader(const char* text, size_t size, size_t count, void* self) {
    return static_cast<Transfer*>(self)->Guarded(&Transfer::TakeHeader, {text, size * count});
  }
  static size_t OnBytes(const char* bytes, size_t size, size_t count, void* self) {
    return static_cast<Transfer*>(self)->Guarded(&Transfer::TakeBytes, {bytes, size * count});
  }
  size_t Guarded(bool (Transfer::*take)(std::string_view), std::string_view bytes) {
    try {
      return (this->*take)(bytes) ? bytes.size() : 0;
    } catch (...) {
      thrown_ = std::current_exception();
      return 0;
    }
  }
  bool TakeHeader(std::string_view line) {
    constexpr std::string_view kRetry = "retry-after:";
    std::string name(line.substr(0, kRetry.size()));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (name == kRetry) {
      const std::string value = Trimmed(std::string(line.substr(kRetry.size())));
      int seconds = 0;
      const auto [rest, code] = std::from_chars(value.data(), value.data() + value.size(), seconds);
      if (code == std::errc() && seconds >= 0) answer_.retry_after = std::chrono::seconds(seconds);
    }
    // The empty line behind them.
    if ((line == "\r\n" || line == "\n") && on_line) Begin();
    return true;
  }
  void Begin() {
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    begun_ = status >= 200 && status < 300;
    if (begun_ && on_begin) on_begin();
  }
  bool TakeBytes(std::string_view bytes) {
    std::string& body = answer_.body;
    if (body.size() + bytes.size() > kMostBytes) return false;
    body.append(bytes);
    if (!begun_) return true;
    size_t at = 0;
    for (size_t end; (end = body.find('\n', at)) != std::string::npos; at = end + 1) {
      if (end == at || on_line(body.substr(at, end - at))) continue;
      ended_ = true;
      return false;
    }
    body.erase(0, at);
    return true;
  }

  KubeClient& client_;
  const std::string authorization_;
  CURL* curl_;
  std::string what_;
  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  KubeAnswer answer_;
  bool begun_ = false;
  bool ended_ = false;  // by us
  bool ended_early_ = false;  // by the other side
  std::exception_ptr thrown_;
};

KubeClient::KubeClient(KubeAccess access, Times times) : access_(std::move(access)), times_(times) {
  InitializeCurl();
}

KubeClient::~KubeClient() {
  for (void* handle : idle_) curl_easy_cleanup(handle);
}

void* KubeClient::TakeHandle() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      void* handle = idle_.back();
      idle_.pop_back();
      return handle;
    }
  }
  void* handle = curl_easy_init();
  if (handle == nullptr)
    throw Error(ErrorCode::kResourceExhausted, "libcurl: no memory for a handle");
  return handle;
}

void KubeClient::ReturnHandle(void* handle) {
  curl_easy_reset(handle);  // its connection stays
  std::lock_guard lock(mutex_);
  idle_.push_back(handle);
}

KubeAnswer KubeClient::Perform(const std::function<std::unique_ptr<Transfer>()>& make, bool again) {
  {
    const std::unique_ptr<Transfer> first = make();
    try {
      return first->Perform();
    } catch (const Error&) {
      if (!again || !first->ended_early()) throw;
    }
  }
  const std::unique_ptr<Transfer> second = make();
  second->Set(CURLOPT_FRESH_CONNECT, 1L);
  return second->Perform();
}

KubeAnswer KubeClient::Call(const std::string& method, const std::string& path,
                            const nlohmann::json& body) {
  const std::string text = body.is_null() ? "" : body.dump();
  return Perform(
      [&] {
        auto transfer = std::make_unique<Transfer>(*this, method, path);
        if (!body.is_null()) {
          transfer->AddHeader("Content-Type: application/json");
          transfer->Set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(text.size()));
          transfer->Set(CURLOPT_POSTFIELDS, text.c_str());
        }
        transfer->Set(CURLOPT_TIMEOUT_MS, static_cast<long>(times_.answer.count()));
        return transfer;
      },
      method == "GET" || method == "DELETE");
}

KubeAnswer KubeClient::Stream(const std::string& path, std::chrono::seconds time,
                              const std::function<void()>& begun,
                              const std::function<bool(const std::string&)>& on_line,
                              const std::function<bool()>& stopped) {
  return Perform(
      [&] {
        auto transfer = std::make_unique<Transfer>(*this, "GET", path);
        transfer->on_begin = begun;
        transfer->on_line = on_line;
        transfer->stopped = stopped;
        transfer->Set(CURLOPT_NOPROGRESS, 0L);
        transfer->Set(CURLOPT_XFERINFODATA, transfer.get());
        transfer->Set(CURLOPT_XFERINFOFUNCTION, &Transfer::OnProgress);
        const auto longest = std::chrono::milliseconds(time) + times_.answer;
        transfer->Set(CURLOPT_TIMEOUT_MS, static_cast<long>(longest.count()));
        return transfer;
      },
      true);
}

}  // namespace syncbn::coordinator
