"""Import: files of every kind become examples with typed features, checked one by one."""
