module example.org/vmbackup

go 1.21
