package node

import (
	"os"
	"testing"
)

const (
	// insideVariable names the folder of the namespaces that a process is in.
	insideVariable = "TEST_NODE_DIR"
	// probeVariable makes the process in the namespaces end as soon as they are furnished.
	probeVariable = "TEST_NODE_PROBE"
	// reasonVariable says why the machine cannot run a node.
	reasonVariable = "TEST_NODE_UNFIT"
	// prefix begins the names of folders and cgroups.
	prefix = "testnode-"
)

// Tests are those of a package, a [testing.M].
type Tests interface{ Run() int }

// Inside tells whether this process is in namespaces that [Run] has made. What is left there ends with them.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Require skips a test where no node can run, and says why.
func Require(t testing.TB) {
	t.Helper()
	if reason := reason(); reason != "" {
		t.Skip("no node can run here: " + reason)
	}
}
