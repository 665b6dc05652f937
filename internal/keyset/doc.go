// SPDX-License-Identifier: Apache-2.0

// Package keyset is what the controller hands to gateways: the keys that they seal states with, and the webhook secrets of
// applications. The controller writes both into one Secret, which gateways mount as a directory: FileSealing holds the key
// set, and one file for each application its webhook secret.
package keyset
