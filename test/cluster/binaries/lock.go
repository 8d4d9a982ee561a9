package binaries

import (
	"errors"
	"os"
	"syscall"
)

// errLocked means that another process, or another open file of this one, holds the lock.
var errLocked = syscall.EWOULDBLOCK

// tryLock takes the lock of an open file without waiting. Closing the file frees the lock.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
