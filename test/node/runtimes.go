package node

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// runtimes returns the paths of runc and of the folder of CNI plugins.
func runtimes() (runc, plugins string, err error) {
	if runc, err = exec.LookPath("runc"); err != nil {
		return "", "", errors.New("runc")
	}
	for _, folder := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		if _, err := os.Stat(filepath.Join(folder, "bridge")); err == nil {
			return runc, folder, nil
		}
	}
	return "", "", errors.New("the CNI plugins")
}
