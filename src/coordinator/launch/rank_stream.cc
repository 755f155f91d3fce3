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

std::string RankEncoder::End(int exit_code, int signal) {
  if (exit_code == 0 && signal == 0) return "";
  std::string text;
  if (!std::exchange(begun_, true)) text += kRankStreamBegin;
  return text + (signal != 0 ? "\\s" + std::to_string(signal) : "\\x" + std::to_string(exit_code)) +
         ".";
}

std::vector<RankDecoder::Piece> RankDecoder::Feed(std::string_view text) {
  std::vector<Piece> pieces;
  std::string begin;
  if (form_ == Form::kUnknown) {
    begin_ += text;
    // Line ends between are nothing, here as well; should it be plain, they are kept.
    size_t matched = 0, at = 0;
    bool differs = false;
    for (; at < begin_.size() && matched < kRankStreamBegin.size() && !differs; ++at) {
      if (begin_[at] == '\n') continue;
      differs = begin_[at] != kRankStreamBegin[matched++];
    }
    if (differs) {
      form_ = Form::kPlain;
    } else if (matched == kRankStreamBegin.size()) {
      form_ = Form::kEncoded;
      begin_.erase(0, at);
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
    if (ending_ != 0) {
      if (c >= '0' && c <= '9' && number_ < 1000) {
        number_ = 10 * number_ + (c - '0');
      } else {
        end_ =
            End{.exit_code = ending_ == 'x' ? number_ : 0, .signal = ending_ == 's' ? number_ : 0};
        ending_ = 0;
      }
      continue;
    }
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
      case 'x':
      case 's':
        ending_ = c;
        number_ = 0;
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
