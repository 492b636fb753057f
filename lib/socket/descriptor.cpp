#include "thinsock/descriptor.hpp"

#include "../system/result.hpp"

namespace thinsock {

void Descriptor::close() noexcept {
  if (fd_ != -1) close_descriptor(detach());
}

}  // namespace thinsock
