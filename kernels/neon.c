/* The kernels for NEON, which every 64-bit ARM has. */
#if defined(__aarch64__)

#include <arm_neon.h>

#define VECTOR_NEON
#define NAME(kernels) llmasos_neon_##kernels

#include "vector.h"

#include "quantize_body.h"
#include "rows_body.h"

#endif
