// Requests and answers of HTTP/1.1, as far as the coordinator's own port speaks it: bodies with a
// length, no chunks, no upgrades.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace syncbn::coordinator {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // "GET"
  std::string path;     // "/api/v1/JobService/GetJob": as sent, without the query
  std::string query;    // behind the '?', if there is one
  HttpHeaders headers;  // names in small letters
  std::string body;
  bool keep_alive = false;
  // Where from, as gRPC writes it ("ipv4:127.0.0.1:54321"); from this machine; by TLS.
  std::string peer;
  bool loopback = false;
  bool encrypted = false;

  // Null where there is none; of several, which no header here may have, the first.
  const std::string* Header(std::string_view name) const;
};

struct HttpAnswer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  HttpHeaders headers;
  std::string body;
};

// What the beginning of a connection's bytes is.
struct HttpParse {
  enum class State { kPartial, kWhole, kBad } state = State::kPartial;
  HttpRequest request;
  size_t used = 0;       // bytes of a whole request
  int refusal = 400;     // of a bad one: the status that says so
  bool expects = false;  // of a partial one: the client waits for "100 Continue" before its body
};

struct HttpLimits {
  size_t head = 16 * 1024;
  size_t body = size_t{2} << 20;
};

HttpParse ParseHttp(std::string_view bytes, const HttpLimits& limits);

// The bytes of an answer: without a body for HEAD, but with its length; with neither where it is
// the head of a stream, which ends with the connection.
enum class HttpBody { kWhole, kHead, kStream };
std::string SerializeHttp(const HttpAnswer& answer, HttpBody body, bool keep_alive);

}  // namespace syncbn::coordinator
