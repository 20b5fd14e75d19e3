//go:build tools

// Package tools keeps the programs this module pins in its requirements.
package tools

import (
	_ "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws"
)
