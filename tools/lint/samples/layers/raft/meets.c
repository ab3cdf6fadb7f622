/* SPDX-License-Identifier: Apache-2.0 */
#include <raft.h>

#include <openssl/ssl.h>

#include "storage/view.h"
#include "replica.h"
