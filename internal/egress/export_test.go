package egress

// NetworksTSV is the table of refused networks as it is written.
var NetworksTSV = networksTSV
