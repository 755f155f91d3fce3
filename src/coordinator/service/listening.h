// Sockets that listen.
#pragma once

#include <string>
#include <vector>

#include "base/descriptor.h"

namespace syncbn::coordinator {

struct ListeningSocket {
  Descriptor socket;  // does not block
  // As it was asked for, with the port that was chosen.
  std::string address;
};

// Listens on "HOST:PORT" (port 0: a free one) or "unix:/PATH": one socket for each address that the
// host has. Two servers never share a port. INVALID_ARGUMENT for what is no address; UNAVAILABLE
// for one that cannot be had, with `purpose` ("", " for HTTP") in the message.
std::vector<ListeningSocket> ListenOn(const std::string& address, const std::string& purpose = "");

// Connects to an address that ListenOn gave, where it means every interface to this machine itself;
// reading and writing end after `seconds`. A descriptor of -1 where nobody takes the connection.
Descriptor ConnectTo(const std::string& address, int seconds);

}  // namespace syncbn::coordinator
