package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// Where the host-path provisioner makes the directories of volumes.
const volumes = "/tmp/hostpath_pv"

// Lets everybody write to each new volume. The provisioner makes them for root alone, and fsGroup does
// nothing for a path of the host.
func openVolumes() error {
	if err := os.MkdirAll(volumes, 0o755); err != nil {
		return err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	if err := watcher.Add(volumes); err != nil {
		return err
	}
	before, err := os.ReadDir(volumes)
	if err != nil {
		return err
	}
	open := func(path string) {
		if err := os.Chmod(path, 0o777); err != nil && !os.IsNotExist(err) {
			log.Println("open a volume:", err)
		}
	}
	for _, volume := range before {
		open(filepath.Join(volumes, volume.Name()))
	}
	go func() {
		for {
			select {
			case event, more := <-watcher.Events:
				if !more {
					return
				}
				if event.Has(fsnotify.Create) {
					open(event.Name)
				}
			case err, more := <-watcher.Errors:
				if !more {
					return
				}
				log.Println("watch the volumes:", err)
			}
		}
	}()
	return nil
}
