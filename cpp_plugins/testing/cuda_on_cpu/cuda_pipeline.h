//! Asynchronous copies that really come late: a batch is carried out when it is waited for, not before.
#pragma once

#include "cuda_runtime.h"

void __pipeline_memcpy_async(void* to, void const* from, size_t bytes);
void __pipeline_commit();
void __pipeline_wait_prior(int batches);
