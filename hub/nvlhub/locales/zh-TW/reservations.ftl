# 在兩個時間之間為專案保留的整個托盤。
reservation-unknown = 沒有預約 { $reservation }。現有預約的編號列在預約清單中。
reservation-past = starts：時間已經過去。現在是 { $now }；請給現在之後的時間。
reservation-too-far = starts：時間太遠。可預約的最晚開始時間是 { $latest }。
reservation-reversed = ends：必須晚於 { $starts }。
reservation-too-long = ends：一筆預約最長 90 天，此處最晚到 { $latest }。之後的時間請另建一筆。
reservation-over = 預約 { $reservation } 已結束或已取消，無法變更。請建立新的預約。
reservation-no-room = 該時段無法預約 { $gpus } 個 GPU：托盤已被預約或停止服務。未預約任何資源。
    同一時段可預約：{ $largest_gpus } 個 GPU。其後 30 天內沒有同樣長度、可容納 { $gpus } 個 GPU 的時段。
    請減少 GPU 或縮短時間，或取消、移動其他預約。
reservation-no-room-then = 該時段無法預約 { $gpus } 個 GPU：托盤已被預約或停止服務。未預約任何資源。
    同一時段可預約：{ $largest_gpus } 個 GPU。同樣長度、{ $gpus } 個 GPU 的可行時間：自 { $next_start } 起。
extend-reserved = 未延長：其 GPU 之後已為某專案預約。最多還能延長 { $most_seconds }。租約會持續到期限；之後請在其他位置重新啟動。

time-unreadable = 「{ $given }」不是時間。請以 2027-03-14T09:00（站點時區）、2027-03-14T09:00+08:00 或日期 2027-03-14 表示。
time-left-out = { $given } 在站點時區並不存在：時鐘在此撥快而跳過。請改用 { $instead } 或更早的時間。
time-twice = { $given } 在站點時區出現兩次，因為時鐘撥回。請加上時差：{ $first } 或 { $last }。
