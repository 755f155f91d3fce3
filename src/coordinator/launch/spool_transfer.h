// Brings the spools of an attempt's workers from other hosts to the coordinator's disk, when the
// attempt has ended: what they could not deliver themselves (report/spool.h).
//
// Workers on every host use the same path. Where the hosts share a disk the files are there already,
// which the other host finds out by a file of a random name that is put there for it. Otherwise
// `syncbn sweep --send-spool` there writes the files to its standard output as records of the spool's
// own kind, so that what else a login prints does no harm, and what arrives of a broken transfer is of
// use.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "syncbn/v1/attempt.pb.h"

namespace syncbn::coordinator {

// The command that runs `syncbn sweep --marker MARKER` with more arguments on a host.
std::vector<std::string> SweepCommand(const v1::AttemptSpec& spec, const std::string& host,
                                      const std::vector<std::string>& arguments);

// Whether a word can be part of such a command: ssh hands its arguments to a shell, which would
// change other words. Letters, digits and / . _ - + only, and not empty.
bool IsPlainWord(std::string_view word);

// Fetches the spool folder of every host of `hosts` into `folder`, which is its path there, too, and
// removes it there. Takes at most twice the ladder's remote_seconds. Returns the hosts from which it
// could not be fetched whole; its files are still there then. note() gets the reasons.
std::vector<std::string> FetchSpools(const v1::AttemptSpec& spec,
                                     const std::vector<std::string>& hosts,
                                     const std::filesystem::path& folder,
                                     const std::function<void(const std::string&)>& note);

// The message of an exit record, which may be empty, with the hosts whose spools are missing.
std::string NotFetchedText(const std::string& message, const std::vector<std::string>& hosts);

// On the other host: writes the files to `file` (a descriptor), unless `folder` has the file `home`
// and so is the coordinator's own. Returns false when writing failed.
bool SendSpool(const std::filesystem::path& folder, const std::string& home, int file);
// On the other host: removes the files, the folder, and the attempt's folders above it where nothing
// else is in them.
void DropSpool(const std::filesystem::path& folder);
// Writes what SendSpool sent into `folder`. False when it is not whole; what came is there then.
bool ReceiveSpool(std::string_view sent, const std::filesystem::path& folder);

}  // namespace syncbn::coordinator
