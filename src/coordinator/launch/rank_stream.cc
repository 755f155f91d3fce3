#include "coordinator/launch/rank_stream.h"

#include <algorithm>
#include <utility>

namespace syncbn::coordinator {

std::string RankEncoder::Encode(int stream, std::string_view bytes) {
  std::string text;
  if (bytes.empty()) return text;
  if (!std::exchange(begun_, true)) text += kRankStreamBegin;
  if (std::exchange(stream_, stream) != stream) text += stream == 0 ? "\\o" : "\\e";
  for (const char c : bytes) {
    switch (c) {
      case '\n':
        text += "\\n";
        break;
      case '[':
        text += "\\l";
        break;
      case '\\':
        text += "\\\\";
        break;
      default:
        text += c;
    }
  }
  return text;
}

std::vector<RankDecoder::Piece> RankDecoder::Feed(std::string_view text) {
  std::vector<Piece> pieces;
  std::string begin;
  if (form_ == Form::kUnknown) {
    begin_ += text;
    const size_t length = std::min(begin_.size(), kRankStreamBegin.size());
    if (begin_.compare(0, length, kRankStreamBegin.substr(0, length)) != 0) {
      form_ = Form::kPlain;
    } else if (length == kRankStreamBegin.size()) {
      form_ = Form::kEncoded;
      begin_.erase(0, length);
    } else {
      return pieces;
    }
    begin = std::move(begin_);
    text = begin;
  }
  if (form_ == Form::kPlain) {
    if (!text.empty()) pieces.push_back({.bytes = std::string(text)});
    return pieces;
  }
  auto add = [&](char c) {
    if (pieces.empty() || pieces.back().stream != stream_) pieces.push_back({.stream = stream_});
    pieces.back().bytes += c;
  };
  for (const char c : text) {
    if (c == '\n') continue;
    if (!std::exchange(escaped_, false)) {
      if (c == '\\') {
        escaped_ = true;
      } else {
        add(c);
      }
      continue;
    }
    switch (c) {
      case 'o':
        stream_ = 0;
        break;
      case 'e':
        stream_ = 1;
        break;
      case 'n':
        add('\n');
        break;
      case 'l':
        add('[');
        break;
      default:
        add(c);
    }
  }
  return pieces;
}

std::vector<RankDecoder::Piece> RankDecoder::Finish() {
  if (form_ != Form::kUnknown || begin_.empty()) return {};
  form_ = Form::kPlain;
  return {{.bytes = std::move(begin_)}};
}

}  // namespace syncbn::coordinator
