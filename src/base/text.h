// Small helpers for messages that people read.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn {

// Damerau-Levenshtein distance (adjacent transposition counts 1).
int EditDistance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, or empty when none is near enough to be a likely typing mistake
// (distance over a third of the longer length, at least 1).
std::string_view NearestWord(std::string_view word, std::span<const std::string> candidates);

// "; did you mean `near`?" with the nearest of the candidates, in another quote where asked for;
// empty where none is near.
std::string DidYouMean(std::string_view word, std::span<const std::string> candidates,
                       char quote = '`');

// "a, b or c"
std::string JoinAlternatives(std::span<const std::string> words);

std::string Join(std::span<const std::string> words, std::string_view separator);

// "1 replica", "4 replicas"
std::string Plural(long long count, std::string_view noun);

// The shortest decimal text that reads back as the same double.
std::string FormatDouble(double value);

// Bytes of the UTF-8 character at the start of `text`, which is not empty; 0 when it is none.
size_t Utf8CharacterLength(std::string_view text);

bool IsUtf8(std::string_view text);

}  // namespace syncbn
