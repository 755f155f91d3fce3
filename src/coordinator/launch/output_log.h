// The log of an attempt: what its processes print, as whole lines that each begin with their rank.
//
// mpirun with --tag-output puts "[1,RANK]<stdout>:" before every piece it passes on, in the middle
// of lines too; srun with --label puts "RANK: " before every line. What ranks send in the form of
// rank_stream.h is decoded. All becomes "RANK: text"; what the launcher itself prints becomes "-:
// text". A piece without a line end of its own is led by "RANK+ " instead: a line of more than 16
// KiB comes in such pieces and an end, and the last line of a rank may never have got one. So
// nothing is added to what was printed, and nothing taken away, but for mpirun's explanations of an
// error that a rank has told itself (IsEcho of launcher_text.h); the exit record has these.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/launch/rank_stream.h"

namespace syncbn::coordinator {

// Takes one output of the launcher apart into pieces of known origin.
class TagSplitter {
 public:
  static constexpr int kLauncher = -1;

  // Calls emit(rank, text) for every piece in order; rank is kLauncher where there is no tag. What
  // could be the beginning of a tag is kept until more is known.
  template <typename Emit>
  void Feed(std::string_view bytes, Emit&& emit) {
    pending_ += bytes;
    Split(false, emit);
  }
  // The output has ended.
  template <typename Emit>
  void Finish(Emit&& emit) {
    Split(true, emit);
  }

 private:
  template <typename Emit>
  void Split(bool all, Emit&& emit) {
    while (!pending_.empty()) {
      const Piece piece = Next(all);
      if (piece.text > 0) emit(rank_, std::string_view(pending_).substr(0, piece.text));
      pending_.erase(0, piece.text + piece.tag);
      if (piece.tag > 0) {
        rank_ = piece.rank;
      } else if (piece.ends_line) {
        rank_ = kLauncher;  // a line without a tag is the launcher's own
      } else {
        return;
      }
    }
  }

  // Bytes of text, then of a tag that follows and its rank; or a text that ends a line.
  struct Piece {
    size_t text = 0, tag = 0;
    int rank = kLauncher;
    bool ends_line = false;
  };
  Piece Next(bool all) const;

  std::string pending_;
  int rank_ = kLauncher;
};

// Writes the log. Never throws for a disk that is full or a log that is too long: lines are then
// counted instead of kept, because a job must not end for want of room for its output.
class OutputLog {
 public:
  struct Options {
    std::filesystem::path path;
    int64_t max_bytes = int64_t{1} << 30;
    // Pieces carry mpirun's tags; otherwise lines may carry srun's labels.
    bool tagged = true;
  };

  explicit OutputLog(const Options& options);
  ~OutputLog();
  OutputLog(const OutputLog&) = delete;
  OutputLog& operator=(const OutputLog&) = delete;

  // Bytes of the launcher's standard output (0) or standard error (1).
  void Add(int stream, std::string_view bytes);
  // A line of the supervisor's own, as the launcher's.
  void AddNote(std::string_view text);
  // Writes what has no end yet, then syncs the file.
  void Finish();

  int64_t dropped_lines() const { return dropped_; }
  // The last lines, at most about 8 KiB: of all, and of what the launcher itself printed.
  const std::string& tail() const { return tail_; }
  const std::string& launcher_text() const { return launcher_text_; }
  // Of ranks that did not end well, by their own relays' word, in the order in which it came.
  struct RankEnd {
    int rank = 0;
    RankDecoder::End end;
  };
  const std::vector<RankEnd>& rank_ends() const { return rank_ends_; }

 private:
  // Whole lines of srun, with their labels; what they hold goes on to AddFromRank.
  void AddLabelled(int stream, std::string_view bytes);
  // What a rank sent through the launcher's output, perhaps encoded.
  void AddFromRank(int stream, int rank, std::string_view text);
  void AddPiece(int stream, int rank, std::string_view text);
  // A whole line, or a piece of one. Those of a box of the launcher are kept until all of it is
  // there.
  void WriteLine(int rank, std::string_view text, bool whole);
  void WriteLines(std::string_view text);
  void Write(int rank, std::string_view text, bool whole);

  Options options_;
  int file_ = -1;
  int64_t written_ = 0;
  int64_t dropped_ = 0;
  TagSplitter splitters_[2];
  std::string labelled_[2];  // of srun: no end yet
  std::map<int, RankDecoder> decoders_;
  std::map<std::pair<int, int>, std::string> lines_;  // by stream and rank: no end yet
  std::set<int> spoke_;                               // ranks that have printed to standard error
  std::string box_;                                   // begun, and not closed yet
  std::vector<std::string>
      echoes_;  // boxes that are left out, if their ranks have spoken by the end
  std::string tail_, launcher_text_;
  std::vector<RankEnd> rank_ends_;
};

}  // namespace syncbn::coordinator
