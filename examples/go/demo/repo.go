// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"example.org/vmbackup/vmbackup"
)

// repository saves the files of a folder into a repository in the map, and reads one back.
func repository(ctx *vmbackup.Context, folder string) error {
	settings := vmbackup.Options{"password": "secret", "prefix": "restic/demo"}
	repo, err := vmbackup.InitRepo(ctx, "memory", settings)
	if err != nil {
		return err
	}
	defer repo.Close()
	if err := repo.OnEvent(func(vmbackup.Event) {}); err != nil {
		return err
	}
	folder, err = filepath.Abs(folder)
	if err != nil {
		return err
	}
	var saved struct {
		SnapshotID string `json:"snapshot_id"`
		Files      int    `json:"files_new"`
	}
	if err := repo.Backup(vmbackup.Options{"paths": []string{folder}}, &saved); err != nil {
		return err
	}
	var found struct{ Errors int }
	if err := repo.Check(vmbackup.Options{"readData": true}, &found); err != nil {
		return err
	}
	file := filepath.Join(folder, "cluster.yaml")
	disk, err := repo.OpenDisk(saved.SnapshotID, file)
	if err != nil {
		return err
	}
	defer disk.Close()
	text, err := io.ReadAll(io.NewSectionReader(disk, 0, disk.Size()))
	if err != nil {
		return err
	}
	want, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Println("repository:", saved.Files > 0, found.Errors == 0, string(text) == string(want))
	return nil
}
