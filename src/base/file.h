// Files that are whole or not there.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn {

// The whole content. Throws NOT_FOUND, PERMISSION_DENIED or DATA_LOSS with path and reason.
std::string ReadFile(const std::filesystem::path& path);
std::vector<std::byte> ReadFileBytes(const std::filesystem::path& path);

// Writes to a temporary name beside `path`, syncs it, renames it and syncs the folder: after a crash
// at any moment `path` holds the old content or the new one. Throws RESOURCE_EXHAUSTED when the disk
// is full; the temporary file is removed then, and the old content is untouched.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view content);

// The same for content in several pieces (a header, then tensors), written in order.
void WriteFileAtomically(const std::filesystem::path& path,
                         std::span<const std::span<const std::byte>> pieces);

// fsync of a folder: makes renames in it durable.
void SyncFolder(const std::filesystem::path& folder);

// Throws the Error that fits errno: "cannot OPERATION PATH: REASON".
[[noreturn]] void ThrowErrno(std::string_view operation, const std::filesystem::path& path);

}  // namespace syncbn
