// How a rank's output travels through a launcher's, so that it arrives as it was written.
//
// mpirun puts a tag before every piece and every line, cuts off what does not fit then (of many
// short lines a quarter), and a rank may print a tag itself; srun cuts long lines. Therefore a
// rank's two outputs travel in its standard output as one text without line ends and without '[':
// first kRankStreamBegin, then its bytes, where these stand for others:
//
//   \n \l \\   a line end, '[', a backslash
//   \o \e      what follows was written to standard output, to standard error (at first: output)
//   \x3. \s9.  at the very end, of a rank that did not end well: its exit code, or the signal that
//              ended it
//
// Line ends between are nothing: srun passes on whole lines only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::coordinator {

inline constexpr std::string_view kRankStreamBegin = "\\syncbn-output-1:";

class RankEncoder {
 public:
  // What is to be sent for bytes of standard output (0) or standard error (1).
  std::string Encode(int stream, std::string_view bytes);
  // What is to be sent last; nothing for the exit code 0. `signal`: 0 for none.
  std::string End(int exit_code, int signal);

 private:
  bool begun_ = false;
  int stream_ = 0;
};

// Takes such a text apart again. One that does not begin with kRankStreamBegin is what a rank wrote
// to standard output, as it is.
class RankDecoder {
 public:
  struct Piece {
    int stream = 0;
    std::string bytes;
  };
  struct End {
    int exit_code = 0, signal = 0;
  };
  // How the rank ended, once it has said so.
  const std::optional<End>& end() const { return end_; }

  // What is known now, in order.
  std::vector<Piece> Feed(std::string_view text);
  // The text has ended.
  std::vector<Piece> Finish();

 private:
  enum class Form { kUnknown, kEncoded, kPlain };

  Form form_ = Form::kUnknown;
  int stream_ = 0;
  bool escaped_ = false;
  char ending_ = 0;  // 'x' or 's': its number is being read
  int number_ = 0;
  std::optional<End> end_;
  std::string begin_;  // until the form is known
};

}  // namespace syncbn::coordinator
