"""Tables, figures and the HTML report, made from the tables of `stembench compare`."""
