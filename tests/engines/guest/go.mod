module lelantos.test/guest

go 1.26
