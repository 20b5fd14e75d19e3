//go:build tools

// Package tools keeps the programs this module pins in its requirements.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
