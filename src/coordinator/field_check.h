// The ranges of what others send: every number, time, length of a text and of a list of every
// message, in one table, looked up by reflection. What a value means (a job that exists, a role, a
// metric's name) is checked where it is used; that it can be stored, added up, shown and written as
// JSON follows from here.
//
// A field that is not in the table has what its type has: whole numbers 0 to 2^53 (which JSON can
// hold), times from 1970 to 9999, durations up to 100 years, other numbers 0 to 1e15 and finite,
// texts of at most 16 KiB, lists of at most 1024 entries, enumerations a value that is known.
#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace syncbn::coordinator {

// Throws FIELD_INVALID for the first field that is out of its range; `path` leads to the message
// ("exit"). Fields of a job or a study to be created are named as its own.
void CheckFields(const google::protobuf::Message& message, const std::string& path = "");

}  // namespace syncbn::coordinator
