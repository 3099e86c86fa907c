// Values of rc=: the return codes of the PMI API (RFC 13). Clients return them to their callers unchanged.
#pragma once

namespace wireup::engine {

inline constexpr int kSuccess = 0;
inline constexpr int kFail = -1;
inline constexpr int kErrInit = 1;    // not initialized yet, or already finalized
inline constexpr int kNameError = 1;  // MPICH's code if a name is taken or missing
inline constexpr int kNoMemory = 2;
inline constexpr int kInvalidArgument = 3;
inline constexpr int kInvalidKey = 4;
inline constexpr int kInvalidKeyLength = 5;
inline constexpr int kInvalidValue = 6;
inline constexpr int kInvalidValueLength = 7;

}  // namespace wireup::engine
