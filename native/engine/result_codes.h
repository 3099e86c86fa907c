// rc= values: the return codes of the PMI APIs (RFC 13), which clients hand through to their callers.
#pragma once

namespace wireup::engine {

inline constexpr int kSuccess = 0;
inline constexpr int kFail = -1;
inline constexpr int kErrInit = 1;    // not initialized, or no longer
inline constexpr int kNameError = 1;  // MPICH's, for names that are taken or not there
inline constexpr int kNoMemory = 2;
inline constexpr int kInvalidArgument = 3;
inline constexpr int kInvalidKey = 4;
inline constexpr int kInvalidKeyLength = 5;
inline constexpr int kInvalidValue = 6;
inline constexpr int kInvalidValueLength = 7;

}  // namespace wireup::engine
