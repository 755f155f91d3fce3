#include "coordinator/service/http_message.h"

#include <algorithm>
#include <charconv>

namespace syncbn::coordinator {
namespace {

bool IsTokenCharacter(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenCharacter);
}

// Of a header's value and of a target: what can be seen, and blanks where they may be.
bool IsVisible(std::string_view text, bool blanks) {
  return std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c > ' ' && c != 0x7f) || (blanks && (c == ' ' || c == '\t'));
  });
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::string SmallLetters(std::string_view text) {
  std::string small(text);
  for (char& c : small) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return small;
}

HttpParse Bad(int status) {
  HttpParse parse;
  parse.state = HttpParse::State::kBad;
  parse.refusal = status;
  return parse;
}

// False for what is no header.
bool AddHeader(std::string_view line, HttpHeaders& headers) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) return false;
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!IsVisible(value, true)) return false;
  headers.emplace_back(SmallLetters(line.substr(0, colon)), std::string(value));
  return true;
}

// "GET /path?query HTTP/1.1"; 0, or the status of what is wrong with it.
int ReadRequestLine(std::string_view line, HttpRequest& request) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return 400;
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return version.starts_with("HTTP/") ? 505 : 400;
  if (!IsToken(line.substr(0, first)) || !target.starts_with('/') || !IsVisible(target, false))
    return 400;
  request.method = line.substr(0, first);
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  request.keep_alive = version == "HTTP/1.1";
  return 0;
}

const char* ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 304:
      return "Not Modified";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
  }
  return "Status";
}

}  // namespace

const std::string* HttpRequest::Header(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [&](const auto& header) { return header.first == name; });
  return found == headers.end() ? nullptr : &found->second;
}

HttpParse ParseHttp(std::string_view bytes, const HttpLimits& limits) {
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return bytes.size() > limits.head ? Bad(431) : HttpParse();
  if (end > limits.head) return Bad(431);
  HttpParse parse;
  HttpRequest& request = parse.request;
  std::string_view head = bytes.substr(0, end);
  const size_t first_end = std::min(head.find("\r\n"), head.size());
  if (const int wrong = ReadRequestLine(head.substr(0, first_end), request)) return Bad(wrong);
  head.remove_prefix(std::min(first_end + 2, head.size()));
  while (!head.empty()) {
    const size_t line_end = std::min(head.find("\r\n"), head.size());
    if (!AddHeader(head.substr(0, line_end), request.headers)) return Bad(400);
    head.remove_prefix(std::min(line_end + 2, head.size()));
  }
  // Whoever reads such a request otherwise than its writer takes part of it for another one.
  if (request.Header("transfer-encoding") != nullptr) return Bad(501);
  size_t length = 0, lengths = 0;
  for (const auto& [name, value] : request.headers) {
    if (name == "connection" && SmallLetters(value) == "close") request.keep_alive = false;
    if (name != "content-length") continue;
    const auto [at, code] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (++lengths > 1 || code != std::errc() || at != value.data() + value.size()) return Bad(400);
  }
  if (length > limits.body) return Bad(413);
  const size_t body = end + 4;
  if (bytes.size() - body < length) {
    const std::string* expect = request.Header("expect");
    parse.expects = expect != nullptr && SmallLetters(*expect) == "100-continue";
    return parse;
  }
  request.body = bytes.substr(body, length);
  parse.used = body + length;
  parse.state = HttpParse::State::kWhole;
  return parse;
}

std::string SerializeHttp(const HttpAnswer& answer, HttpBody body, bool keep_alive) {
  std::string bytes =
      "HTTP/1.1 " + std::to_string(answer.status) + " " + ReasonPhrase(answer.status) + "\r\n";
  const auto add = [&](std::string_view name, std::string_view value) {
    bytes.append(name).append(": ");
    // Nothing that comes from elsewhere begins a header of its own.
    for (const char c : value) bytes += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c;
    bytes += "\r\n";
  };
  if (answer.status != 304) add("Content-Type", answer.type);
  for (const auto& [name, value] : answer.headers) add(name, value);
  if (body != HttpBody::kStream && answer.status != 304)
    add("Content-Length", std::to_string(answer.body.size()));
  add("Connection", keep_alive ? "keep-alive" : "close");
  bytes += "\r\n";
  if (body == HttpBody::kWhole) bytes += answer.body;
  return bytes;
}

}  // namespace syncbn::coordinator
